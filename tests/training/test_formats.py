"""A checkpoint of every format that ever landed, tests/training/checkpoints/FORMAT/SYSTEM.tar.xz: it loads, finds what the version that
wrote it found (found.json beside it), and goes on training. `write_checkpoint.py` writes those of the present format."""

import importlib
import json
import logging
import re
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

import mmre_jax
from mmre_jax.training import formats
from mmre_jax.training.checkpoint import FOLDER, CheckpointError, Checkpoints
from mmre_jax.training.interrupt import Interrupted
from mmre_jax.training.job import restore_job
from mmre_jax.training.train import train

sys.path.insert(0, str(Path(__file__).parent))
from write_checkpoint import SYSTEMS, TEXT, config, photo, said, write_data

pytestmark = pytest.mark.thorough

KEPT = Path(__file__).parent / "checkpoints"
ARCHIVES = sorted(KEPT.glob("*/*.tar.xz"))


def unpacked(archive, folder):
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.xz")


def close(found, expected):
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[k], expected[k]) for k in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == (pytest.approx(expected, abs=1e-4) if isinstance(expected, float) else expected)


def test_every_format_is_kept():
    assert {path.parent.name for path in ARCHIVES} == {f"format_{n}" for n in range(1, formats.FORMAT + 1)}
    assert all(path.stat().st_size < 2**17 for path in ARCHIVES)


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: f"{path.parent.name}-{path.name.split('.')[0]}")
def test_it_loads_and_finds_what_it_found(archive, tmp_path, monkeypatch):
    run = unpacked(archive, tmp_path)
    extractor = mmre_jax.load(run)
    pair = {"head": (0, 1), "tail": (2, 3)} if extractor.task == "relation" else {}
    monkeypatch.chdir(tmp_path)
    found = json.loads(json.dumps(said(extractor.extract(text=TEXT, image=photo(), **pair))))
    assert close(found, json.loads((run / "found.json").read_text()))


@pytest.mark.parametrize("number", range(1, formats.FORMAT + 1))
def test_it_goes_on_where_it_was_stopped(number, tmp_path, monkeypatch, caplog):
    run = unpacked(KEPT / f"format_{number}" / "hvformer.tar.xz", tmp_path)
    monkeypatch.chdir(tmp_path)
    write_data(Path("data"), rich=number > 1)
    sizes = {"vision.stem": 64, "vision.groups": 32} if number == 1 else {}  # of encoders that there were not
    with caplog.at_level(logging.INFO), pytest.raises(Interrupted, match="after step 3 of 6"):
        train(config("hvformer", **{"train.max_steps": 3}, **sizes), run)
    assert "resumed from step 2" in caplog.text
    assert ("that they are the same could not be checked" in caplog.text) == (number < 3)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"format": 99, "versions": {"mmre_jax": "9.1.0"}}, "run/3: the checkpoint has format 99, written by mmre_jax 9.1.0; this "),
        ({"format": "1"}, "has format '1', written by an unknown version"),
        ({}, "has format None, written by an unknown version"),
        ({"format": 1, "config": {}}, "run/3: the checkpoint's metadata lacks labels, none, plan, tokenizer"),
    ],
)
def test_an_unknown_format_is_refused_naming_what_wrote_it(meta, message):
    with pytest.raises(CheckpointError, match=message):
        restore_job(meta, Path("run/3"))


def test_a_checkpoint_of_other_pictures_is_refused_naming_what_wrote_it(tmp_path):
    run = unpacked(KEPT / "format_2" / "ifaformer.tar.xz", tmp_path)
    with Checkpoints(run / FOLDER, read_only=True) as checkpoints:
        meta = checkpoints.meta(2)
    meta["config"]["data"]["objects"] = "grounded"
    meta["versions"]["mmre_jax"] = "0.0.7"
    message = "^run/3: the checkpoint has format 2, written by mmre_jax 0.0.7, whose system 'ifaformer' looked at other pictures "
    with pytest.raises(CheckpointError, match=message + ".*only that one at nothing, only this one at .*'grounded'"):
        restore_job(meta, Path("run/3"))


def test_a_checkpoint_that_lacks_something_is_named(tmp_path):
    run = unpacked(KEPT / "format_2" / "ifaformer.tar.xz", tmp_path)
    [path] = (run / FOLDER / "2" / "meta").glob("metadata")
    meta = json.loads(path.read_text())
    del meta["labels"]
    path.write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(run / FOLDER / '2'))}: the checkpoint's metadata lacks labels$"):
        mmre_jax.load(run)


def test_no_archive_names_a_machine(tmp_path):
    for archive in ARCHIVES:
        folder = tmp_path / archive.parent.name
        run = unpacked(archive, folder)
        for path in run.rglob("*"):
            assert not path.is_file() or b"/tmp/" not in path.read_bytes(), path
        with Checkpoints(run / FOLDER, read_only=True) as checkpoints:
            assert checkpoints.meta(2)["config"]["data"]["root"] == "data"
        shutil.rmtree(run)


def test_the_writer_knows_every_system():
    assert all(importlib.import_module(f"configs.{system}").VARIANTS for system in SYSTEMS)
