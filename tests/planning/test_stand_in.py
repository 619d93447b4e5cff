"""Jobs without data."""

import jax
import numpy as np
import pytest

from configs import detector, dgf_pt, hvformer, ifaformer, qeot, rsrnet
from mmre_jax.data import datasets
from mmre_jax.planning.chips import PlanError
from mmre_jax.planning.stand_in import RELATIONS, stand_in
from mmre_jax.training.job import new_job, sample, shapes

SMALL = {"width": 16, "layers": 2, "heads": 2, "mlp": 32}


def small(config):
    config = config.copy_and_resolve_references().unlock()
    config.text.update(SMALL)
    config.vision.update({**SMALL, "stem": 8, "side": 64, "crop_side": 64})
    for name in ("heads",):
        if name in config.system:
            config.system[name] = 2
    return config


def test_of_the_embedded_data_set_it_is_the_job_that_training_has():
    config = small(hvformer.get_config("quickstart"))
    config.data.counts = (32, 4, 4)
    found = stand_in(config.lock())
    real = new_job(config, datasets.open_records(config.data, "train"))
    assert found.assumed == () and found.job.task.labels == real.task.labels
    assert jax.tree.leaves(shapes(found.job)) == jax.tree.leaves(shapes(real))


@pytest.mark.parametrize(
    ("module", "variant", "labels", "words"),
    [
        (hvformer, "mnre", 23, 30522),
        (ifaformer, "mnre", 23, 30522),
        (ifaformer, "twitter2015", 11, 30522),  # what begins, what padding is, and two tags of four types: as the reader has them
        (rsrnet, "mnre", 23, 50265),
        (dgf_pt, "mnre", 23, 50257),
        (qeot, "more", 21, 30522),
    ],
)
def test_what_files_would_say_is_assumed_and_told(module, variant, labels, words):
    config = small(module.get_config(variant)).lock()
    found = stand_in(config)
    if variant != "twitter2015":
        assert RELATIONS[variant] == len(found.job.task.labels) == labels
        assert any(said.startswith(f"{labels} relations (as published of {variant}") for said in found.assumed)
    else:
        assert found.job.task.labels == datasets.labels(config.data, "entities", ())[0]
    assert any(said.startswith(f"{words:,} words") for said in found.assumed)
    tables = [x for x in jax.tree.leaves(shapes(found.job)["params"]["text"]) if x.shape and x.shape[0] > 10_000]
    assert [table.shape for table in tables] == [(words + len(found.job.task.encoder.added), 16)]
    if module is dgf_pt:
        assert found.job.config.system.types == ("loc", "misc", "org", "per") and found.job.config.system.caption_tokens == 0


def test_captions_are_read_where_a_run_would_read_some():
    config = small(dgf_pt.get_config("mnre"))
    config.data.captions = "captions.json"
    found = stand_in(config.lock())
    assert found.job.config.system.caption_tokens == 32 and "caption" in sample(found.job, 48)


def test_labels_and_words_can_be_given():
    found = stand_in(small(qeot.get_config("more")).lock(), labels=7, vocabulary=999)
    assert len(found.job.task.labels) == 7 and found.assumed == ("7 relations (--labels)", "999 words (--vocabulary)")


def test_a_data_set_of_ones_own_has_to_say_how_many_labels():
    config = small(detector.get_config("jsonl"))
    config.vision.update({"depths": (1, 1, 1, 1), "bottleneck": False})
    with pytest.raises(PlanError, match="data.name='jsonl' has for task.name='objects' stands in its files: give --labels=N"):
        stand_in(config.lock())
    found = stand_in(config.lock(), labels=3)
    assert len(found.job.task.labels) == 4  # and the background


def test_a_sample_is_as_long_as_the_batches_of_a_run():
    config = small(hvformer.get_config("quickstart"))
    config.data.counts = (32, 4, 4)
    job = stand_in(config.lock()).job
    batch = sample(job, 32)
    assert batch["text"]["ids"].shape == (1, 32) and batch["index"].dtype == np.int32
    assert sample(job)["text"]["ids"].shape == (1, 8)  # two words, four markers, two specials
