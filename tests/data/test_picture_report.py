"""The report counts each file once, and never needs the pictures to be there."""

import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from picture_files import chunk, encoded, exif, noise, png, segment, smooth, with_segments

from mmre_jax.data import datasets
from mmre_jax.data.picture_report import PictureReport, Tally, check
from mmre_jax.data.pictures import Slot, gather
from mmre_jax.data.readers import jsonl
from mmre_jax.records import Record, Region

HALF = ((0.5,) * 3, (0.5,) * 3)
PHOTO = Slot("photo", 1, 8, "photo", "squash", *HALF)
DETECTED = Slot("detected", 2, 8, "detected", "squash", *HALF)
GROUNDED = Slot("grounded", 2, 8, "grounded", "squash", *HALF)
BOX = (0.0, 0.0, 0.5, 0.5)


@pytest.fixture
def records(tmp_path):
    def file(name):
        return str(tmp_path / name)

    for name in ("a.png", "crop.png"):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(file(name))
    (tmp_path / "broken.png").write_bytes(b"no")
    shared = Record("0", ("w",), image=file("a.png"), regions=(Region(box=BOX), Region(box=BOX, file=file("crop.png"), source="grounded")))
    return [
        shared,
        dataclasses.replace(shared, id="1"),
        Record("2", ("w",), image=file("broken.png"), regions=(Region(box=BOX), Region(box=BOX, file=file("none.png"), source="grounded"))),
        Record("3", ("w",), image=file("gone.png"), regions=(Region(box=BOX),) * 3),
        Record("4", ("w",), regions=(Region(source="grounded"),)),
    ]


def test_counts(records, tmp_path):
    report = check(records, (PHOTO, DETECTED, GROUNDED))
    assert (report.records, report.records_with_photo) == (5, 2)
    assert dataclasses.replace(report.photos, examples=()) == Tally(3, 1, 1, 1)
    assert dataclasses.replace(report.crops, examples=()) == Tally(6, 2, 2, 2)
    assert [example.split(": ")[0] for example in report.photos.examples] == [str(tmp_path / "broken.png"), str(tmp_path / "gone.png")]
    assert not report.complete


def test_agrees_with_gather(records):
    plan = (PHOTO, DETECTED, GROUNDED)
    report = check(records, plan)
    assert report.records_with_photo == sum(bool(gather(record, plan)[1]["photo"].any()) for record in records)


def test_only_what_the_plan_asks_for(records):
    assert check(records, (DETECTED,)).photos == Tally()
    assert check(records, (PHOTO,)).crops == Tally()
    assert check(records, ()) == PictureReport(5, 0, Tally(), Tally())
    assert check(records[:2], (PHOTO, DETECTED, GROUNDED)).complete


def test_blank_crops_are_missing_all_the_same(records):
    plan = (PHOTO, DETECTED, GROUNDED)
    report, masked = check(records, plan, blank=True), check(records, plan)
    assert dataclasses.replace(report, blank=0) == masked and not masked.blank
    assert (report.blank, report.crops.missing) == (1, 2) and not report.complete, "the other one is said to be nowhere"
    assert "2 missing, 2 unreadable; 1 of the missing shown as blank" in report.summary() and "shown as" not in masked.summary()
    assert report.to_json()["blank"] == 1


def test_nothing_there(tmp_path):
    records = [Record(str(i), ("w",), image=str(tmp_path / f"{i}.jpg")) for i in range(1200)]
    report = check(records, (PHOTO,))
    assert dataclasses.replace(report.photos, examples=()) == Tally(1200, 0, 1200, 0)
    assert len(report.photos.examples) == 5


def test_text_and_json(records):
    report = check(records, (PHOTO, DETECTED))
    assert "1 of 3 at hand, 1 missing, 1 unreadable" in report.summary()
    assert "broken.png: not a picture" in report.summary()
    assert json.loads(json.dumps(report.to_json()))["photos"]["missing"] == 1


def assert_agree(path, data):
    """Report, `readable` and reader say the same of a file. Returns whether it is a picture."""
    path.write_bytes(data)
    record = Record("0", ("w",), image=str(path), regions=(Region(box=BOX), Region(file=str(path), source="grounded")))
    plan = (PHOTO, DETECTED, GROUNDED)
    report, (_, present) = check([record], plan), gather(record, plan)
    there = bool(present["photo"][0])
    assert report.complete == there == datasets.readable(str(path)) == (report.records_with_photo == 1)
    assert present["detected"][0] == present["grounded"][0] == there
    return there


def test_agrees_with_gather_on_damaged_metadata(tmp_path):
    array, jpeg = noise(), encoded(smooth(), "JPEG")
    garbage = (chunk(b"eXIf", b"\xde\xad" * 9), chunk(b"tEXt", b"k\0" + b"x" * 2**21), chunk(b"iCCP", b"?"), chunk(b"tIME", b"", crc=0))
    for part in garbage:
        assert assert_agree(tmp_path / "a.png", png(array, before=part))
        assert assert_agree(tmp_path / "a.png", png(array, after=part))
    assert assert_agree(tmp_path / "a.png", png(array, end=b""))
    assert assert_agree(tmp_path / "a.jpg", jpeg[:-2])
    assert assert_agree(tmp_path / "a.jpg", with_segments(jpeg, segment(0xE1, b"Exif\0\0\xde\xad" * 9)))
    assert not assert_agree(tmp_path / "a.png", png(array)[:-50])
    assert not assert_agree(tmp_path / "a.jpg", jpeg[:-20])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF"]), st.data())
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of numbers that a damaged TIFF lacks
def test_agrees_with_gather_whatever_the_damage(tmp_path, kind, data):
    whole = bytearray(encoded(smooth(24, 20), kind, **({} if kind == "GIF" else {"exif": b"Exif\0\0" + exif(6)})))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert_agree(tmp_path / "picture", bytes(whole))


CASE = pathlib.Path(__file__).parents[3] / "shared" / "cases" / "exif_png"


@pytest.mark.skipif(not CASE.is_dir(), reason=f"{CASE.name}: the folder of cases is not there")
def test_a_png_whose_exif_is_garbage():
    for split in ("train", "val", "test"):
        records = jsonl.read(CASE / f"{split}.jsonl")
        assert check(records, (PHOTO,)).complete
        assert all(gather(record, (PHOTO,))[1]["photo"].all() for record in records)
    pixels = gather(records[0], (Slot("photo", 1, 64, "photo", "squash", *HALF),))[0]["photo"][0]
    np.testing.assert_array_equal(
        pixels, np.asarray(Image.open(records[0].image).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC))
    )


def test_urls_are_counted_as_what_cannot_be_read():
    report = check([Record("0", ("w",), image="https://a.org/b.jpg")], (PHOTO,))
    assert (report.photos.unreadable, report.photos.missing) == (1, 0) and "is a URL" in report.summary()
