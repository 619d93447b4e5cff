"""A configuration's data set: each name opens what it says, prepared or not the same, and mistakes are named."""

import numpy as np
import pytest

from configs import common
from mmre_jax.data import builders, datasets
from mmre_jax.data.pictures import Slot
from mmre_jax.data.readers import jsonl, scenes
from mmre_jax.records import RecordError

HALF = (0.5, 0.5, 0.5)
PLAN = (Slot("photo", 1, 32, "photo", "squash", HALF, HALF), Slot("detected", 2, 16, "detected", "squash", HALF, HALF))


def section(**changes):
    data = common.data()
    data.update(changes)
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("posts")
    for split, count in (("train", 12), ("val", 3), ("test", 3)):
        scenes.export(root, "relations", split, count)
    return root


def test_scenes_has_as_many_records_as_asked_for():
    data = section(counts=(5, 4, 3))
    assert [len(datasets.open_records(data, split)) for split in datasets.SPLITS] == [5, 4, 3]
    labels, none = datasets.relation_labels(data, [])
    assert (len(labels), none, labels[0]) == (17, "None", "None")
    assert len(datasets.relation_labels(section(scene="grounded"), [])[0]) == 3


def test_labels_of_json_lines_are_those_of_training(folder):
    data = section(name="jsonl", root=str(folder))
    train = datasets.open_records(data, "train")
    labels, none = datasets.relation_labels(data, train)
    assert none == labels[0] == "None"
    assert list(labels[1:]) == sorted({r.relations[0].label for r in train} - {"None"})


def test_prepared_is_the_same_as_direct(folder, tmp_path):
    direct = section(name="jsonl", root=str(folder))
    records = {split: datasets.open_records(direct, split) for split in datasets.SPLITS}
    labels = sorted({r.relations[0].label for found in records.values() for r in found})
    builders.prepare(records, PLAN, tmp_path / "out", root=folder, about={"relations": labels, "none_label": None})
    prepared = section(name="prepared", root=str(tmp_path / "out"))
    assert datasets.relation_labels(prepared, [])[0] == ("None", *(label for label in labels if label != "None"))
    ours, theirs = datasets.open_pictures(PLAN, prepared), datasets.open_pictures(PLAN, direct)
    for split, expected in records.items():
        found = datasets.open_records(prepared, split)
        assert [found[i] for i in range(len(found))] == expected
        for record in expected:
            for a, b in zip(ours(record), theirs(record), strict=True):
                for name in a:
                    np.testing.assert_array_equal(a[name], b[name])


def test_pictures_of_scenes_are_drawn_from_their_keys():
    (record,) = scenes.read("relations", "test", 1)
    pixels, present = datasets.open_pictures(PLAN[:1], section())(record)
    assert present["photo"].all()
    assert np.asarray(datasets.read_picture(record.image)).shape == (64, 64, 3) and pixels["photo"].shape == (1, 32, 32, 3)
    assert datasets.open_pictures(()) is None


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="data.name is one of scenes, mnre, mnre_v1, jsonl, prepared, found 'mnist'"):
        datasets.open_records(section(name="mnist"), "train")
    with pytest.raises(ValueError, match="a split is one of train, val, test, found 'dev'"):
        datasets.open_records(section(), "dev")
    with pytest.raises(RecordError, match=r"data.root='' is not a folder"):
        datasets.open_records(section(name="mnre"), "train")
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(RecordError, match=r"val.jsonl: no such file; JSON lines there are: train.jsonl"):
        datasets.open_records(section(name="jsonl", root=str(tmp_path)), "val")
    with pytest.raises(RecordError, match="prepare.json"):
        datasets.open_records(section(name="prepared", root=str(tmp_path)), "train")
    assert jsonl.read(tmp_path / "train.jsonl") == []
