"""What tells a run's data from others: words, annotation, pictures by name and size; not where they lie."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from mmre_jax.data import builders
from mmre_jax.data.pictures import PicturePlan, Slot
from mmre_jax.data.source import PreparedSource
from mmre_jax.records import Mention, Record, Region, Relation, Triple
from mmre_jax.training.identity import differences, identity

HALF = ((0.5,) * 3, (0.5,) * 3)
PLAN: PicturePlan = (Slot("photo", 1, 8, "photo", "squash", *HALF), Slot("objects", 2, 8, "detected", "squash", *HALF))


def pictured(folder, count=3):
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"{i}.png")
    return [
        Record(
            id=f"post{i}",
            words=("anna", "meets", f"person{i}"),
            image=str(folder / f"{i}.png"),
            mentions=(Mention(0, 1, "PER"),),
            relations=(Relation(Mention(0, 1), Mention(2, 3), "knows"),),
            triples=(Triple(Mention(0, 1), "at", (0.0, 0.0, 0.5, 0.5)),),
            regions=(Region(box=(0.0, 0.0, 0.5, 0.5)),),
        )
        for i in range(count)
    ]


def of(records, root, plan=PLAN, name="jsonl"):
    return identity(ConfigDict({"name": name, "root": str(root)}), {"train": records}, plan)


def changed(record, **values):
    return dataclasses.replace(record, **values)


@pytest.fixture
def found(tmp_path):
    return pictured(tmp_path / "a")


def test_the_same_data_elsewhere_are_the_same(found, tmp_path):
    first = of(found, tmp_path / "a")
    assert first == json.loads(json.dumps(first))
    assert first == of([changed(r, id="x", origin="y") for r in found], tmp_path / "a"), "neither ids nor places in files are learnt from"
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    for read, root in (("b", "b"), ("c", "c"), ("b", "c")):
        moved = [changed(r, image=r.image.replace("/a/", f"/{read}/")) for r in found]
        assert of(moved, tmp_path / root) == first
    numpy = [changed(r, regions=(changed(r.regions[0], box=tuple(np.float64(x) for x in r.regions[0].box)),)) for r in found]
    assert of(numpy, tmp_path / "a") == first


CHANGES = {
    "words": lambda r: changed(r, words=("eve", *r.words[1:])),
    "half a surrogate pair": lambda r: changed(r, words=("\ud83d", *r.words[1:])),
    "span": lambda r: changed(r, relations=(changed(r.relations[0], head=Mention(1, 2)),)),
    "label": lambda r: changed(r, relations=(changed(r.relations[0], label="likes"),)),
    "no label": lambda r: changed(r, relations=(changed(r.relations[0], label=None),)),
    "type": lambda r: changed(r, mentions=(Mention(0, 1, "LOC"),)),
    "triple": lambda r: changed(r, triples=(changed(r.triples[0], box=(0.0, 0.0, 0.5, 0.6)),)),
    "picture": lambda r: changed(r, image=r.image.replace("1.png", "0.png")),
    "no picture": lambda r: changed(r, image=None),
    "box": lambda r: changed(r, regions=(Region(box=(0.0, 0.0, 0.5, 0.6)),)),
    "more boxes": lambda r: changed(r, regions=r.regions * 2),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_a_run_is_shown_makes_a_difference(found, tmp_path, case):
    other = [found[0], CHANGES[case](found[1]), found[2]]
    (line,) = differences(of(found, tmp_path / "a"), of(other, tmp_path / "a"), {"train": other})
    assert line == "train: 1 of 3 records differ in words, labels, spans, captions or pictures, the first being number 1 (post1)"


def test_pictures_that_are_lost_or_others_make_a_difference_where_they_are_looked_at(found, tmp_path):
    first, text = (of(found, tmp_path / "a", plan) for plan in (PLAN, ()))
    os.truncate(tmp_path / "a" / "1.png", 20)
    os.remove(tmp_path / "a" / "2.png")
    (line,) = differences(first, of(found, tmp_path / "a"), {"train": found})
    assert line.startswith("train: 2 of 3 records differ") and line.endswith("number 1 (post1)")
    assert of(found, tmp_path / "a", ()) == text


def test_counts_and_splits_are_told(found, tmp_path):
    first = of(found, tmp_path / "a")
    (line,) = differences(first, of(found[1:], tmp_path / "a"), {"train": found[1:]})
    assert line == "train: 3 records in the checkpoint, 2 here; of the first 2, 2 differ, the first being number 0 (post1)"
    assert differences({"val": first["train"]}, first, {"train": found}) == ["train: not in the checkpoint", "val: not there now"]


def test_a_prepared_set_is_known_without_the_files_it_was_made_of(found, tmp_path):
    def prepared(name):
        builders.prepare({"train": found}, PLAN, tmp_path / name, root=tmp_path / "a")
        return identity(
            ConfigDict({"name": "prepared", "root": str(tmp_path / name)}), {"train": PreparedSource(tmp_path / name, "train")}, PLAN
        )

    first = prepared("one")
    assert first == prepared("two")
    Image.effect_noise((40, 40), 99).save(tmp_path / "a" / "1.png")
    other = prepared("three")
    assert differences(first, other, {"train": found}) == ["train: the records are the same, the prepared pictures differ"]
    shutil.rmtree(tmp_path / "a")
    source = PreparedSource(tmp_path / "one", "train")
    assert first == identity(ConfigDict({"name": "prepared", "root": str(tmp_path / "one")}), {"train": source}, PLAN)
