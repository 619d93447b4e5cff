"""What is prepared equals what the readers give, and an interrupted build leaves nothing behind."""

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from mmre_jax.data import builders, picture_report
from mmre_jax.data.dataset import FilePictures
from mmre_jax.data.pictures import MissingPicture, Slot, gather, read_picture
from mmre_jax.data.prepared import PreparedError
from mmre_jax.data.readers import mnre
from mmre_jax.data.source import PreparedPictures, PreparedSource
from mmre_jax.records import Record, Region

pytestmark = pytest.mark.thorough

REAL = pathlib.Path(os.environ.get("MMRE_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data")) / "RE_data"
HALF = ((0.5,) * 3, (0.5,) * 3)
PHOTO = Slot("photo", 1, 32, "photo", "crop", *HALF)
DETECTED = Slot("detected", 3, 16, "detected", "squash", *HALF)
GROUNDED = Slot("grounded", 3, 24, "grounded", "squash", *HALF)
PLANS = {"none": (PHOTO,), "detected": (PHOTO, DETECTED), "grounded": (PHOTO, GROUNDED)}


def assert_same(folder, records, plan):
    """The prepared folder gives the very records and pixels. Returns how many pictures were present."""
    direct, prepared, present = FilePictures(plan), PreparedPictures(folder, plan), 0
    for split, wanted in records.items():
        found = PreparedSource(folder, split)
        assert len(found) == len(wanted)
        assert [found[i] for i in range(len(found))] == list(wanted)
        for record in wanted:
            (pixels, there), (expected, expected_there) = prepared(record), direct(record)
            assert set(pixels) == set(there) == set(expected)
            for name in expected:
                assert pixels[name].dtype == np.uint8 and there[name].dtype == np.bool_
                np.testing.assert_array_equal(pixels[name], expected[name])
                np.testing.assert_array_equal(there[name], expected_there[name])
                present += there[name].sum()
    return present


@pytest.mark.parametrize("encoding", ["png", "raw"])
@pytest.mark.parametrize("objects", mnre.OBJECTS)
def test_prepared_is_what_the_readers_give(mnre_folder, tmp_path, objects, encoding):
    records = {split: mnre.read(mnre_folder, split, objects=objects) for split in mnre.SPLITS}
    plan = PLANS[objects]
    summary = builders.prepare(records, plan, tmp_path / "out", encoding=encoding, root=mnre_folder, about={"dataset": "mnre"})
    assert assert_same(tmp_path / "out", records, plan) > 0
    assert json.loads((tmp_path / "out" / "prepare.json").read_text()) == json.loads(json.dumps(summary))
    assert {split: counts["records"] for split, counts in summary["splits"].items()} == {"train": 9, "val": 6, "test": 5}
    assert summary["splits"]["train"]["relations"] == {"None": 3, "/per/per/peer": 3, "/per/loc/place_of_birth": 3}


def test_what_an_owner_keeps_comes_back_and_marks_are_no_text(mnre_folder, tmp_path):
    metas = [{}, {"tweet": 17, "tags": ["é", None], "where": {"lat": 0.1, "lon": -3}}, {"": "empty key"}]
    records = {"val": [dataclasses.replace(record, meta=metas[i % 3]) for i, record in enumerate(mnre.read(mnre_folder, "val"))]}
    builders.prepare(records, PLANS["none"], tmp_path / "out", root=mnre_folder)
    for name in ("prepare.json", "pictures.json"):
        path = tmp_path / "out" / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert assert_same(tmp_path / "out", records, PLANS["none"]) > 0


def test_counts_of_pictures(mnre_folder, tmp_path):
    records = {split: mnre.read(mnre_folder, split, objects="detected") for split in mnre.SPLITS}
    found = builders.prepare(records, PLANS["detected"], tmp_path / "out", root=mnre_folder)["pictures"]
    everything = [record for part in records.values() for record in part]
    report = picture_report.check(everything, PLANS["detected"])
    for name, there in (("photos", report.photos), ("crops", report.crops)):
        counts = ("referenced", "missing", "present", "unreadable")
        assert [found[name][count] for count in counts] == [getattr(there, count) for count in counts]
    assert (found["photos"]["referenced"], found["photos"]["missing"], found["photos"]["unreadable"]) == (11, 3, 3)
    assert found["stored"] == found["photos"]["present"] + found["crops"]["present"]
    present = [gather(record, (PHOTO,))[1]["photo"].all() for record in everything]
    assert found["records_with_photo"] == sum(present)


def test_each_picture_is_decoded_and_stored_once(mnre_folder, tmp_path):
    records = {"val": mnre.read(mnre_folder, "val", objects="detected")}
    read = []

    def reader(path):
        read.append(path)
        return read_picture(path)

    builders.prepare(records, PLANS["detected"], tmp_path / "out", root=mnre_folder, read=reader)
    assert sorted(read) == sorted({record.image for record in records["val"]})
    index = json.loads((tmp_path / "out" / "pictures.json").read_text())
    for kind in ("crop32", "squash16"):
        rows = [row for key, row in index.items() if key.startswith(f"{kind}:")]
        array = np.load(tmp_path / "out" / "pictures" / f"{kind}.npy")
        assert sorted(rows) == list(range(1, len(array))) and not array[0].any()


def test_the_room_that_is_needed_is_told_and_looked_for_beforehand(mnre_folder, tmp_path, caplog, monkeypatch):
    records = {"val": mnre.read(mnre_folder, "val", objects="detected")}
    with caplog.at_level("INFO"):
        found = builders.prepare(records, PLANS["detected"], tmp_path / "out", root=mnre_folder)["pictures"]
    sizes = {slot.name: 3 * slot.side**2 for slot in PLANS["detected"]}
    there = {name: (found[name]["present"] + found[name]["unreadable"]) for name in ("photos", "crops")}
    needed = {"crop32": there["photos"] * sizes["photo"], "squash16": there["crops"] * sizes["detected"]}
    stored = {path.stem: path.stat().st_size - 128 for path in (tmp_path / "out" / "pictures").glob("*.npy")}
    assert all(0 < size <= needed[kind] + 3 * 32**2 for kind, size in stored.items()) and stored.keys() == needed.keys()
    assert f"pictures: {sum(needed.values()) / 1e9:.2f} GB at most (crop32 0.00 GB, squash16 0.00 GB)" in caplog.text
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, sum(needed.values()) - 1))
    with pytest.raises(PreparedError, match="new: the pictures take up to 0.00 GB .* and 0.00 GB are free"):
        builders.prepare(records, PLANS["detected"], tmp_path / "new", root=mnre_folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_pictures_from_memory(tmp_path):
    def read(key):
        if not key.startswith("scene:"):
            raise MissingPicture(key)
        return Image.fromarray(np.full((20, 20, 3), int(key[6:]), np.uint8))

    region = Region(box=(0.0, 0.0, 0.5, 0.5))
    records = {"train": [Record(str(i), ("w",), image=f"scene:{i % 3}", regions=(region,)) for i in range(5)]}
    plan = (PHOTO, DETECTED)
    builders.prepare(records, plan, tmp_path / "out", read=read)
    source, pictures = PreparedSource(tmp_path / "out", "train"), PreparedPictures(tmp_path / "out", plan)
    for i in range(5):
        assert source[i] == records["train"][i]
        pixels, present = pictures(source[i])
        assert (pixels["photo"] == i % 3).all() and present["photo"].all()
        np.testing.assert_array_equal(pixels["detected"], gather(source[i], plan, read)[0]["detected"])


@pytest.mark.parametrize("plan", [(), (PHOTO, DETECTED)])
def test_without_any_picture(tmp_path, plan):
    records = {"train": [Record("r", ("w",), image=str(tmp_path / "none.jpg")), Record("s", ("w",))]}
    summary = builders.prepare(records, plan, tmp_path / "out", root=tmp_path)
    assert summary["pictures"]["stored"] == 0
    assert assert_same(tmp_path / "out", records, plan) == 0


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_build_leaves_nothing(mnre_folder, tmp_path, stop):
    records = {"val": mnre.read(mnre_folder, "val")}

    def read(path):
        if path.endswith("val_1.jpg"):
            raise stop
        return read_picture(path)

    with pytest.raises(stop):
        builders.prepare(records, (PHOTO,), tmp_path / "new" / "out", root=mnre_folder, read=read)
    assert list((tmp_path / "new").iterdir()) == []
    builders.prepare(records, (PHOTO,), tmp_path / "new" / "out", root=mnre_folder)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == ["pictures", "pictures.json", "prepare.json", "records"]


def test_refusals(tmp_path):
    record = Record("r", ("w",))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(PreparedError, match="full: exists already"):
        builders.prepare({"train": [record]}, (), tmp_path / "full")
    with pytest.raises(PreparedError, match="split 'val' has no records"):
        builders.prepare({"train": [record], "val": []}, (), tmp_path / "out")
    with pytest.raises(PreparedError, match="encoding is one of raw, png"):
        builders.prepare({"train": [record]}, (), tmp_path / "out", encoding="jpeg")
    with pytest.raises(ValueError, match="different names"):
        builders.prepare({"train": [record]}, (PHOTO, PHOTO), tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError):
        builders.prepare({"train": [record]}, (), tmp_path / "file" / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.real
@pytest.mark.slow
def test_real_validation_split(tmp_path):
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL}")
    records = {"val": mnre.read(REAL, "val", objects="detected")}
    builders.prepare(records, PLANS["detected"], tmp_path / "out", root=REAL)
    assert assert_same(tmp_path / "out", records, PLANS["detected"]) > 0
