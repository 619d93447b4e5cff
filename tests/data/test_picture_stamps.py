"""Pictures are told apart by what would be read, without being opened."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from configs import common
from mmre_jax.data import builders, datasets, decode
from mmre_jax.data.dataset import FilePictures
from mmre_jax.data.picture_stamps import ABSENT, stamps
from mmre_jax.data.pictures import Slot
from mmre_jax.data.released_pictures import ReleasedPictures
from mmre_jax.data.source import PreparedPictures, PreparedSource
from mmre_jax.records import Record, Region

GREY = ((0.5,) * 3, (0.5,) * 3)
PLAN = (Slot("photo", 1, 8, "photo", "squash", *GREY), Slot("detected", 2, 8, "detected", "squash", *GREY))
BOX = (0.0, 0.0, 0.5, 0.5)


def section(root=""):
    data = common.section("data")
    data.root = str(root)
    return data


def write(path, shade):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((20, 20, 3), shade, np.uint8)).save(path)


def record(root, name, *boxes):
    regions = tuple(Region(box=box, source="detected") for box in boxes)
    return Record(name, ("a",), image=str(root / f"{name}.png"), regions=regions)


def of_files(root, *records, plan=PLAN, read=datasets.read_picture):
    return stamps(records, FilePictures(plan, read), plan, section(root))


def test_a_file_is_its_name_size_and_time_and_the_box_on_it(tmp_path):
    write(tmp_path / "a.png", 1)
    first = of_files(tmp_path, record(tmp_path, "a", BOX), None, record(tmp_path, "b"))
    assert first[0][2] == ABSENT and first[0][0] != first[0][1] and first[1] == [ABSENT] * 3
    assert first[2][0] != ABSENT, "it may be there later"
    shutil.copytree(tmp_path, tmp_path.parent / "moved", copy_function=shutil.copy2)
    moved = tmp_path.parent / "moved"
    assert of_files(moved, record(moved, "a", BOX))[0] == first[0], "the folder's own name does not matter"
    assert of_files(tmp_path, record(tmp_path, "a", (0.0, 0.0, 0.5, 0.6)))[0][1] != first[0][1]
    other = tuple(dataclasses.replace(slot, resize="cover") for slot in PLAN)
    assert of_files(tmp_path, record(tmp_path, "a", BOX), plan=other)[0][0] != first[0][0]
    assert of_files(tmp_path, record(tmp_path, "a", BOX), read=datasets.read_released)[0][0] != first[0][0]
    halves, both = FilePictures(PLAN, datasets.read_picture, decode.read_draft), record(tmp_path, "a", (0.0, 0.0, 0.1, 0.1))
    drafts = stamps([record(tmp_path, "a"), both], halves, PLAN, section(tmp_path))
    assert len({drafts[0][0], drafts[1][0], first[0][0]}) == 3, "of a JPEG as much is decoded as its smallest part needs"
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert of_files(tmp_path, record(tmp_path, "a", BOX))[0][0] != first[0][0]


def test_a_crop_that_may_be_blank_is_another_than_one_that_is_masked(tmp_path):
    records = [record(tmp_path, "lost", BOX), None]
    for kind, more in ((FilePictures, {}), (ReleasedPictures, {"root": str(tmp_path)})):
        sources = (kind(PLAN, datasets.read_picture, **more, blank=blank) for blank in (False, True))
        masked, blank = (stamps(records, pictures, PLAN, section(tmp_path)) for pictures in sources)
        assert blank[0][0] == masked[0][0] and blank[0][1] != masked[0][1] and blank[0][2] == ABSENT
        assert blank[1] == masked[1] == [ABSENT] * 3


def test_a_stand_in_counts_as_released(tmp_path):
    write(tmp_path / "a.png", 1)
    records, pictures = [record(tmp_path, "a"), record(tmp_path, "b")], ReleasedPictures(PLAN, datasets.read_released, str(tmp_path))
    before = stamps(records, pictures, PLAN, section(tmp_path))
    write(tmp_path / "inf.png", 2)
    after = stamps(records, pictures, PLAN, section(tmp_path))
    assert before[1][0] != after[1][0]


def test_what_comes_by_a_function_is_known_by_its_pixels():
    def pictures(record):
        shade = int(record.words[0])
        pixels = {slot.name: np.full((slot.count, 8, 8, 3), shade, np.uint8) for slot in PLAN}
        return pixels, {"photo": np.array([True]), "detected": np.array([True, False])}

    found = stamps([Record(f"{n}", (w,)) for n, w in enumerate("121")], pictures, PLAN, section())
    assert found[0] == found[2] != found[1] and found[0][2] == ABSENT


@pytest.mark.parametrize("name", ["scenes", "prepared"])
def test_scenes_are_their_keys_and_prepared_pictures_their_store(tmp_path, name):
    if name == "scenes":
        data = common.section("data")
        data.update({"name": "scenes", "objects": "none", "counts": (2, 2, 2)})
        (a, b), (c, _) = (datasets.open_records(data, split) for split in ("train", "val"))
        found = stamps([a, b, c], datasets.open_pictures(PLAN[:1], data), PLAN[:1], data)
        assert len({x[0] for x in found}) == 3
        return
    for n in "ab":
        write(tmp_path / "files" / f"{n}.png", ord(n))
    records = [record(tmp_path / "files", n) for n in "ab"]

    def prepared(folder):
        builders.prepare({"train": records}, PLAN, tmp_path / folder, root=str(tmp_path / "files"))
        data = section(tmp_path / folder)
        data.name = "prepared"
        source = PreparedSource(tmp_path / folder, "train")
        return stamps([source[0], source[1]], PreparedPictures(tmp_path / folder, PLAN), PLAN, data)

    first = prepared("one")
    assert first[0] != first[1]
    write(tmp_path / "files" / "a.png", 9)
    assert prepared("two")[1] != first[1], "prepared anew, from other files perhaps"
