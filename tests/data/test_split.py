"""Batches cut from a split's tables are what comes of its records one by one."""

import dataclasses
import pickle

import jax
import numpy as np
import pytest

from configs import detector, dgf_pt, hvformer, ifaformer, qeot
from mmre_jax.data import builders, datasets
from mmre_jax.data.pictures import Slot
from mmre_jax.data.readers import mnre
from mmre_jax.data.source import PreparedPictures
from mmre_jax.data.split import Split, Table
from mmre_jax.records import Record, Region
from mmre_jax.training.job import new_task
from tests.data.test_loader import RECORDS, features, split_of

COUNT = 6
PLAN = tuple(Slot(name, count, 8, name, "squash", (0.5,) * 3, (0.5,) * 3) for name, count in (("photo", 1), ("detected", 2)))
TASKS = {  # every task, and what is asked for beside the sentence
    "relation": hvformer.get_config("quickstart"),
    "prompted": dgf_pt.get_config("quickstart"),
    "entities": ifaformer.get_config("quickstart_entities"),
    "triples": qeot.get_config("quickstart"),
    "objects": detector.get_config("quickstart"),
}


@pytest.mark.parametrize("name", TASKS)
def test_whatever_is_cut_from_the_table_is_what_the_task_gives_for_that_length(name):
    config = TASKS[name].copy_and_resolve_references().unlock()
    config.data.counts = (COUNT, 1, 1)
    config.system.update({"caption_tokens": 8} if name == "prompted" else {})
    read = datasets.open_records(config.data, "train")
    box = Region((0.0, 0.1, 0.5, 0.6), score=0.5)
    records = [dataclasses.replace(record, caption=f"{n} red things", regions=(*record.regions, box)) for n, record in enumerate(read)]
    task = new_task(config.lock(), records)
    examples = task.examples(records)
    encoded, whose = task.encode(examples), np.roll(np.arange(len(examples)), 1)
    whose[1] = -1
    split = Split(examples, encoded, task.features, None, whose)
    which = np.array([2, 0, 1, 2])
    most = int(split.lengths[which].max())
    for length in (most, most + 1, int(split.lengths.max()) + 1, int(split.lengths.max()) + 9):
        found = split(which, length)
        for row, n in enumerate(which):
            other = examples[whose[n]] if whose[n] >= 0 else Record("", ())
            seen = dataclasses.replace(examples[n], image=other.image, regions=other.regions, caption=other.caption)
            wanted = task.features(seen, length, task.encode([seen])[0])
            jax.tree.map(lambda a, b, row=row: np.testing.assert_array_equal(a[row], b, strict=True), found, wanted)


def test_two_padded_axes_are_refused():
    with pytest.raises(ValueError, match="inputs have one axis that is padded at most, found shapes .3, 3. and .4, 4."):
        Table(lambda n, length: {"pairs": np.zeros((length, length))}, 1, 2)


def test_features_are_made_once_and_travel_without_what_they_were_made_of():
    calls = []

    def counted(record, length, encoded):
        calls.append(record.id)
        return features(record, length, encoded)

    lengths = np.arange(2, 25)
    split = split_of(lengths, RECORDS, counted)
    split.prepare()
    for length in (24, 30):
        np.testing.assert_array_equal(split(np.array([3, 5]), length)["text"], np.full((2, length), [[3], [5]]))
    assert len(calls) == len(RECORDS) + 1, "one record at two lengths, to see what is padded"
    sent = pickle.loads(pickle.dumps(split_of(lengths, RECORDS)))
    np.testing.assert_array_equal(sent(np.array([7]), 25)["text"], np.full((1, 25), 7))


def test_gathered_pictures_are_those_of_the_records_that_are_shown(mnre_folder, tmp_path):
    records = mnre.read(mnre_folder, "train", objects="detected")
    builders.prepare({"train": records}, PLAN, tmp_path / "out", root=mnre_folder)
    prepared = PreparedPictures(tmp_path / "out", PLAN)
    whose = np.array([4, 0, -1, 8, 1, 2, 3, 5, 6])
    which = np.array([2, 0, 3, 8, 2, 1])
    tokens = split_of(np.full(len(records), 3), records).encoded
    split = Split(records, tokens, lambda *_: {}, prepared, whose)
    assert split.gather is not None
    sent = pickle.dumps(split)
    assert len(sent) < 100_000, "the arrays are mapped again where it arrives"
    one_by_one = Split(records, tokens, lambda *_: {}, prepared.__call__, whose)
    assert one_by_one.gather is None
    for found in (split(which, 3), pickle.loads(sent)(which, 3)):
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), found, one_by_one(which, 3))
    assert not found["present"]["photo"][[0, 4]].any() and found["present"]["photo"].any()
