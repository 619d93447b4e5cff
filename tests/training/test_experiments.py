"""The papers' experiments as configuration values: what they change in training and evaluation, and what they say of themselves."""

import json
import logging
import pathlib
import sys

import jax
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import small_mnre

from configs import hvformer, ifaformer, mkgformer, rsrnet
from mmre_jax import evaluate, extract
from mmre_jax.data import datasets
from mmre_jax.data.sampling import is_shuffled
from mmre_jax.data.text import train_tokenizer
from mmre_jax.declare import SettingError
from mmre_jax.tasks.entities import SPECIAL_TAGS
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.training.checks import rehearse
from mmre_jax.training.evaluate import make_predictor
from mmre_jax.training.job import make_job, new_job
from mmre_jax.training.parallel import local_devices
from mmre_jax.training.protocol import BLANK_WARNING, LEAK_WARNING, protocol
from mmre_jax.training.splits import make_split, training_examples
from mmre_jax.training.starting import example, initial_state
from mmre_jax.training.train import train


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
    for training in (True, False):
        split = make_split(job, records, train=training)
        hidden = {records[i].image for i in np.flatnonzero(split.picture_of < 0)}
        images = {record.image for record in records}
        assert len(images - hidden) == round(share * len(images))


def test_a_share_of_the_training_set_has_every_relation_in_its_proportion():
    job, records = job_and_records(**{"data.train_share": 0.25})
    chosen = training_examples(job.task, job.config, records)
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


BLANK = {"data.objects": "detected", "data.missing": "blank"}


def test_blank_crops_stand_in_the_protocol_with_a_warning():
    found = protocol(config(**BLANK))
    assert found["missing"] == "blank" and found["warning"] == BLANK_WARNING
    assert protocol(config(**BLANK | {"data.objects": "grounded"}))["warning"] == f"{LEAK_WARNING} {BLANK_WARNING}"
    for other in ({"data.objects": "none"}, {"system.modalities": "text"}, {"data.missing": "masked"}):
        assert not {"missing", "warning"} & protocol(config(**BLANK | other)).keys(), "no crops are looked at, or none is blank"


def test_blank_crops_and_required_ones_exclude_each_other():
    with pytest.raises(SettingError, match="^data.missing='blank' shows crops that are missing, and data.require_images=True"):
        rehearse(config(**BLANK, **{"data.require_images": True}))


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A small MNRE whose records differ in the number of listed crops alone, which tells the relation."""
    root = tmp_path_factory.mktemp("counted")
    for split, count in (("train", 32), ("val", 8), ("test", 8)):
        small_mnre.write_counted(root, split, count)
    return root


def mnre(root, module=hvformer, **changes):
    data = {"data.name": "mnre", "data.root": str(root), "data.objects": "grounded", "data.verdicts": "", "vision.crop_side": 32}
    return config(module, **data | {"data.missing": "blank", "train.compilation_cache": "", **changes})


def crops(split):
    """How many crops each record of a split is shown."""
    there = split(np.arange(len(split.records)), 32)["present"]
    assert not there["photo"].any()
    return there["grounded"].sum(axis=1).tolist()


def test_blank_crops_are_counted_under_shuffles_and_masks(counted):
    job = new_job(settings := mnre(counted), records := datasets.open_records(settings.data, "val"))
    assert crops(make_split(job, records)) == [2, 3] * 4
    masked = new_job(mnre(counted, **{"data.missing": "masked"}), records)
    assert crops(make_split(masked, records)) == [0] * 8
    other = make_split(job, records, shuffled=True)
    assert crops(other) == [2 + n % 2 for n in other.picture_of] != [2, 3] * 4
    half = make_split(new_job(mnre(counted, **{"data.image_share": 0.5}), records), records)
    assert crops(half) == [0 if n < 0 else 2 + n % 2 for n in half.picture_of] and (half.picture_of < 0).sum() == 4


@pytest.mark.thorough
def test_blank_crops_show_in_a_trained_model_what_their_number_tells(counted, tmp_path, caplog):
    """All texts are the same. What is extracted is not shown blank crops."""
    caplog.set_level(logging.INFO)
    more = {"optim.lr": 1e-2, "train.batch": 8, "train.eval_batch": 8, "train.epochs": 8, "data.buckets": (32,), "data.threads": 1}
    settings = mnre(counted, ifaformer, **more)
    metrics = train(settings, tmp_path / "run")
    assert metrics["test"]["accuracy"] == 1.0
    assert metrics["protocol"]["missing"] == "blank" and metrics["protocol"]["warning"] == f"{LEAK_WARNING} {BLANK_WARNING}"
    assert (metrics["pictures"]["blank"], metrics["pictures"]["crops"]["missing"]) == (120, 120)
    assert "0 of 120 at hand, 120 missing, 0 unreadable; 120 of the missing shown as blank" in caplog.text
    assert any(record.levelname == "WARNING" and BLANK_WARNING in record.getMessage() for record in caplog.records)
    evaluation = evaluate.checkpoint(tmp_path / "run", "test")
    assert evaluation.headline() == metrics["headline"] and evaluation.protocol["missing"] == "blank" and len(evaluation.seen) == 8
    extractor = extract.load(tmp_path / "run")
    assert extractor.job.config.data.missing == "blank"
    found = extractor.extract_records(datasets.open_records(settings.data, "test"))
    assert [len(each.masked) for each in found] == [3, 4] * 4, "the photo's and each crop's"
    assert len({(each.relations[0].label, round(each.relations[0].score, 5)) for each in found}) == 1, "they are all alike"
    with pytest.raises(CheckpointError, match="data.missing: 'blank' in the checkpoint, 'masked' here"):
        train(mnre(counted, ifaformer, **more, **{"data.missing": "masked"}), tmp_path / "run")
