"""A picture is judged once as long as its file stays the same; what is remembered is never trusted blindly."""

import json
import logging
import os
import stat

import numpy as np
import pytest
from PIL import Image

from mmre_jax.data import decode, verdicts
from mmre_jax.data.decode import MissingPicture, PictureError

LONG_AGO = 10**18


class Judge:
    """Judges as the check before a run does, and knows what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, files):
        self.asked = list(files)
        return {file: self._why(file) for file in self.asked}

    def _why(self, file):
        try:
            decode.read_picture(file)
        except PictureError as error:
            return error
        return None


def written(path, data=None):
    if data is None:
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(path)
    else:
        path.write_bytes(data)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return str(path)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "x").mkdir()
    there = [written(tmp_path / "a.png"), written(tmp_path / "cut.png", b"no"), written(tmp_path / "x" / "a.png")]
    return [*there, str(tmp_path / "gone.png")]


def said(found):
    return {file: (type(error), str(error)) for file, error in found.items()}


def test_what_is_remembered_is_what_was_found(files, tmp_path):
    judge, store = Judge(), str(tmp_path / "store")
    first = verdicts.judged(files, judge, store)
    assert judge.asked == files and list(first) == files
    assert isinstance(first[files[3]], MissingPicture) and "not a picture" in str(first[files[1]])
    assert said(verdicts.judged(files, judge, store)) == said(first)
    assert judge.asked == [files[3]], "a file that is not there is looked for each time"
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0
    assert said(verdicts.judged(files, judge, "")) == said(first) and judge.asked == files


def test_what_changed_is_judged_again(files, tmp_path, monkeypatch):
    judge, store = Judge(), str(tmp_path / "store")
    verdicts.judged(files[:3], judge, store)
    written(tmp_path / "a.png", b"bad")
    assert verdicts.judged(files[:3], judge, store)[files[0]] is not None and judge.asked == [files[0]]
    os.utime(files[2], ns=(LONG_AGO, LONG_AGO + 1))
    assert verdicts.judged(files[:3], judge, store)[files[2]] is None and judge.asked == [files[2]]
    verdicts.judge_of.cache_clear()
    monkeypatch.setattr(verdicts.PIL, "__version__", "0.1")
    verdicts.judged(files[:3], judge, store)
    assert judge.asked == files[:3], "another Pillow may judge otherwise"
    verdicts.judge_of.cache_clear()


def test_a_file_that_was_just_written_is_not_remembered(files, tmp_path):
    """It may be written again within the grain of its time."""
    judge, store = Judge(), str(tmp_path / "store")
    os.utime(files[0])
    verdicts.judged(files[:2], judge, store)
    verdicts.judged(files[:2], judge, store)
    assert judge.asked == files[:1]


BROKEN = {
    "no JSON": lambda stored: "{",
    "binary": lambda stored: "\x00",
    "a list": lambda stored: "[]",
    "other keys": lambda stored: json.dumps({**stored, "more": 1}),
    "another folder": lambda stored: json.dumps({**stored, "folder": "/elsewhere"}),
    "no files": lambda stored: json.dumps({**stored, "files": 3}),
    "a bool": lambda stored: json.dumps({**stored, "files": {"a.png": [True, 1, None]}}),
    "a short entry": lambda stored: json.dumps({**stored, "files": {"a.png": [1]}}),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_damaged_is_told_and_made_anew(files, tmp_path, how, caplog):
    judge, store = Judge(), tmp_path / "store"
    first = verdicts.judged(files[:2], judge, str(store))
    [path] = store.iterdir()
    path.write_text(BROKEN[how](json.loads(path.read_text())))
    with caplog.at_level(logging.WARNING):
        assert said(verdicts.judged(files[:2], judge, str(store))) == said(first)
    assert judge.asked == files[:2] and caplog.text.count("cannot be used") == 1
    verdicts.judged(files[:2], judge, str(store))
    assert judge.asked == [] and [each.suffix for each in store.iterdir()] == [".json"]


def test_where_nothing_can_be_written_all_is_judged(files, tmp_path, caplog):
    judge = Judge()
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert verdicts.judged(files[:1], judge, str(tmp_path / "file" / "store")) == {files[0]: None}
    assert "is not remembered" in caplog.text and stat.S_ISREG((tmp_path / "file").stat().st_mode)
