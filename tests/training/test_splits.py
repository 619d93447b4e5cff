"""A split's text is tokenised once, whatever asks for it afterwards; and who makes its batches."""

import collections
import dataclasses

import numpy as np
import pytest
from ml_collections import ConfigDict

import mmre_jax
from configs import common, dgf_pt, ifaformer, qeot
from mmre_jax import evaluate
from mmre_jax.data import datasets
from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.loader import Order
from mmre_jax.data.pictures import Slot
from mmre_jax.data.split import Split
from mmre_jax.data.text import TextEncoder
from mmre_jax.training.job import new_job
from mmre_jax.training.splits import REPAID, batches_of, make_split, makers

CONFIGS = {
    "captions": dgf_pt.get_config("quickstart"),
    "entities": ifaformer.get_config("quickstart_entities"),
    "triples": qeot.get_config("quickstart"),
}


@pytest.fixture
def tokenised(monkeypatch):
    """How often each sentence was tokenised."""
    found, each_once = collections.Counter(), TextEncoder._each_once

    def counted(encoder, sentences):
        pieces = each_once(encoder, sentences)
        found.update(pieces.keys())
        return pieces

    monkeypatch.setattr(TextEncoder, "_each_once", counted)
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_training_tokenises_each_sentence_once(name, tokenised):
    config = CONFIGS[name].copy_and_resolve_references().unlock()
    config.data.update({"counts": (12, 4, 4), "threads": 2})
    config.system.update({"caption_tokens": 8} if name == "captions" else {})
    read = datasets.open_records(config.data, "train")
    records = [dataclasses.replace(record, caption=f"{n % 5} things") for n, record in enumerate(read)]
    job = new_job(config.lock(), records)
    tokenised.clear()  # of prompts
    split = make_split(job, records, train=True, shuffled=True)
    known = {**tokenised}
    assert {record.words for record in split.records} <= known.keys() and (("3", "things") in known) == (name == "captions")
    job.task.left_out(split.records, split.encoded)
    batches = list(batches_of(job, Order(split.lengths, 4, buckets_of(config), True), split, 0, 6))
    assert tokenised == known and set(known.values()) == {1}
    for batch in batches:  # as without what travels, captions of the pictures that are shown included
        for row, index in enumerate(batch["index"].tolist()):
            shown = split.records[split.picture_of[index]]
            seen = dataclasses.replace(split.records[index], image=shown.image, regions=shown.regions, caption=shown.caption)
            for part, values in job.task.features(seen, batch["text"]["ids"].shape[1]).items():
                found = {key: value[row] for key, value in batch[part].items()} if isinstance(values, dict) else batch[part][row]
                np.testing.assert_equal(found, values)


@pytest.mark.parametrize("task", ["entities", "triples"])
def test_evaluation_and_extraction_tokenise_each_sentence_once(task, untrained, tokenised):
    found = evaluate.checkpoint(untrained[task], "val")
    assert found.scores() and found.slices()
    assert tokenised.keys() >= {record.words for record in found.records} and set(tokenised.values()) == {1}
    tokenised.clear()
    mmre_jax.load(untrained[task]).extract_records(list(found.records))
    assert set(tokenised.values()) == {1}


def test_many_pictures_are_decoded_on_all_cores(monkeypatch):
    data = common.section("data")
    plan = (Slot("photo", 1, 8, "photo", "squash", (0.5,) * 3, (0.5,) * 3),)
    files, scenes = (Split((), (), dict, datasets.open_pictures(plan, section)) for section in (ConfigDict({"name": "jsonl"}), data))
    for cores, many in ((2, {"workers": 0, "threads": 2}), (3, {"workers": 0, "threads": 3}), (6, {"workers": 6, "threads": 6})):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert makers(data, files, REPAID) == many and makers(data, files, REPAID - 1) == {"workers": 0, "threads": cores}
        for split in (scenes, dataclasses.replace(files, pictures=None)):
            assert makers(data, split, REPAID) == {"workers": 0, "threads": 2}
    data.update({"workers": 3, "threads": 1})
    assert makers(data, files, 1) == makers(data, scenes, 1) == {"workers": 3, "threads": 1}
