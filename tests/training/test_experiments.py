"""The papers' experiments as configuration values: what they change in training and evaluation, and what they say of themselves."""

import json

import jax
import numpy as np
import pytest

from configs import hvformer, ifaformer, mkgformer, rsrnet
from mmre_jax.data import datasets
from mmre_jax.data.sampling import is_shuffled
from mmre_jax.data.text import train_tokenizer
from mmre_jax.tasks.entities import SPECIAL_TAGS
from mmre_jax.training.evaluate import make_predictor
from mmre_jax.training.job import make_job, new_job
from mmre_jax.training.parallel import local_devices
from mmre_jax.training.protocol import protocol
from mmre_jax.training.splits import make_split, training_examples
from mmre_jax.training.starting import example, initial_state


def config(module=hvformer, variant="quickstart", **changes):
    found = module.get_config(variant).copy_and_resolve_references()
    small = {"width": 16, "layers": 1, "heads": 2, "mlp": 16}
    with found.unlocked():
        found.text.update(small)
        found.vision.update({**small, "side": 32, "stem": 8, "groups": 2})
        found.data.update({"counts": (200, 20, 20)})
        found.update_from_flattened_dict(changes)
    return found.lock()


def job_and_records(**changes):
    settings = config(**changes)
    records = datasets.open_records(settings.data, "train")
    return new_job(settings, records), records


@pytest.mark.parametrize(("value", "shown"), [("none", ""), ("train", "train"), ("test", "test"), ("both", "train test")])
def test_the_visual_shuffle_never_touches_val(value, shown):
    data = config(**{"data.shuffle_pictures": value}).data
    assert [name for name in datasets.SPLITS if is_shuffled(data, name)] == shown.split()


def test_shuffled_records_are_shown_with_others_pictures():
    job, records = job_and_records()
    split = make_split(job, records, train=True, shuffled=True)
    assert sorted(split.picture_of) == list(range(len(records))) and (split.picture_of != np.arange(len(records))).all()
    assert make_split(job, records, train=True).picture_of is None


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_an_image_share_masks_the_other_pictures_in_every_split(share):
    job, records = job_and_records(**{"data.image_share": share})
    for train in (True, False):
        split = make_split(job, records, train=train)
        hidden = {records[i].image for i in np.flatnonzero(split.picture_of < 0)}
        images = {record.image for record in records}
        assert len(images - hidden) == round(share * len(images))


def test_a_share_of_the_training_set_has_every_relation_in_its_proportion():
    job, records = job_and_records(**{"data.train_share": 0.25})
    chosen = training_examples(job, records)
    assert chosen == make_split(job, records, train=True).records and len(chosen) == 50
    assert len(make_split(job, records).records) == 200, "evaluation is of all"
    for label in job.task.labels:
        whole, part = (sum(record.relations[0].label == label for record in found) for found in (records, chosen))
        assert abs(part - whole / 4) < 1


def test_metrics_say_what_was_done_to_the_data():
    changes = {"data.image_share": 0.5, "data.train_share": 0.1, "data.shuffle_pictures": "test", "data.blank_words": True}
    plain = {"task": "relation", "data": "scenes", "objects": "none", "precision": "default"}
    assert protocol(config()) == plain
    said = {"image_share": 0.5, "train_share": 0.1, "shuffle_pictures": "test", "blank_words": True}
    assert protocol(config(**changes)) == plain | said
    text = protocol(config(**changes, **{"data.objects": "detected", "system.modalities": "text"}))
    assert text == plain | {"train_share": 0.1, "blank_words": True}, "without pictures nothing can be done to them"
    assert json.loads(json.dumps(text)) == text


@pytest.mark.parametrize("changes", [{"optim.frozen": ("vision",)}, {"optim.multipliers": {"vision": 0.5, "head": 2.0}}])
def test_the_text_only_control_runs_where_settings_name_the_image_encoder(changes):
    job, records = job_and_records(**changes, **{"system.modalities": "text"})
    assert set(initial_state(job, make_split(job, records), 10).params) == {"text", "head"}


def test_a_frozen_part_may_have_a_multiplier():
    job, records = job_and_records(**{"optim.frozen": ("vision",), "optim.multipliers": {"vision": 0.5}})
    assert "vision" in initial_state(job, make_split(job, records), 10).frozen


@pytest.mark.parametrize("module", [rsrnet, ifaformer])
def test_the_reference_flavour_has_the_released_tags_for_entities(module):
    settings = module.get_config("reference").copy_and_resolve_references().unlock()
    settings.task.name = "entities"
    tags = ("O", "B-PER", "I-PER")
    job = make_job(settings.lock(), tags, "O", train_tokenizer([("a",)], 40, "word"))
    assert job.task.labels == (SPECIAL_TAGS[0], *tags, *SPECIAL_TAGS[1:])


def test_metrics_say_how_products_are_computed_and_the_released_ones_are_exact():
    assert protocol(config(**{"train.precision": "high"}))["precision"] == "high"
    with jax.default_matmul_precision("tensorfloat32"):
        assert protocol(config())["precision"] == "tensorfloat32", "what the environment says stands where the setting leaves it alone"
        assert protocol(config(**{"train.precision": "highest"}))["precision"] == "highest"
    for module in (hvformer, ifaformer, mkgformer, rsrnet):
        assert module.get_config("reference").train.precision == "highest"


@pytest.mark.parametrize("precision", ["default", "highest"])
def test_a_jobs_predictions_have_its_precision(precision):
    job, records = job_and_records(**{"train.precision": precision, "system.modalities": "text", "data.counts": (4, 2, 2)})
    split, devices = make_split(job, records), local_devices(1)
    batch = devices.shard(example(job, split))
    shapes = jax.eval_shape(job.system.init, jax.random.key(0), example(job, split))
    variables = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), shapes)
    program = str(jax.make_jaxpr(make_predictor(job, devices).step)(variables, batch))
    assert program.count("dot_general[") and ("Precision.HIGHEST" in program) == (precision == "highest")
