"""The report counts each file once, and never needs the pictures to be there."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from mmre_jax.data.picture_report import PictureReport, Tally, check
from mmre_jax.data.pictures import Slot, gather
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
