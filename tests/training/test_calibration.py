"""How honest a checkpoint's scores are, kept with it by training and by the command: whole or not at all, and nothing else changes."""

import json
import shutil
from typing import Any

import numpy as np
import pytest

import mmre_jax
from mmre_jax import evaluate
from mmre_jax.data import datasets
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.training import calibration
from mmre_jax.training.checkpoint import CheckpointError, Checkpoints
from mmre_jax.training.locate import locate
from mmre_jax.training.log import read_json
from mmre_jax.training.train import train


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run that has ended."""
    return shutil.copytree(trained, tmp_path / "run")


def test_training_ends_with_it(trained) -> None:
    directory, step = locate(trained)
    found = calibration.read(directory, step)
    assert found == read_json(trained / "metrics.json")["calibration"]
    assert (found["split"], found["step"], found["data"], found["predictions"]) == ("val", step, "scenes", 16)
    assert mmre_jax.load(trained).calibration == found
    others = [name for name in Checkpoints(directory, read_only=True).steps() if name != step]
    assert all(calibration.read(directory, other) is None for other in others)


def test_a_checkpoint_with_it_is_read_goes_on_and_is_removed_as_before(run) -> None:
    directory, step = locate(run)
    (directory / str(step) / f".{calibration.FILE}.1").write_text("{")  # what a kill leaves
    config = mmre_jax.load(run).job.config
    (run / "metrics.json").unlink()
    again = train(config, run)  # the run looks for its best step, scores and fits it once more
    assert again["best_step"] == step and again["calibration"] == calibration.read(directory, step)
    with Checkpoints(directory) as checkpoints:
        assert checkpoints.best() == step and checkpoints.meta(step)["step"] == step
        checkpoints.forget(step)
        assert step not in checkpoints.steps()
    assert not (directory / str(step)).exists()


def test_scores_change_and_what_is_found_does_not(run) -> None:
    directory, step = locate(run)
    records = datasets.open_records(mmre_jax.load(run).job.config.data, "test")
    calibration.write(directory, step, {"temperature": 3.0, "bias": 0.0, "split": "val"})
    told, shown = mmre_jax.load(run), evaluate.checkpoint(run, "test")
    assert calibration.remove(directory, step) and not calibration.remove(directory, step)
    plain = mmre_jax.load(run)
    assert plain.calibration is None and plain.job.task.calibration == Calibration()
    both = [[r for e in each.extract_records(records, top=99) for r in e.relations] for each in (told, plain)]
    for warm, cold in zip(*both, strict=True):
        assert warm.label == cold.label and [label for label, _ in warm.alternatives] == [label for label, _ in cold.alternatives]
        logits = np.log([p for _, p in cold.alternatives]) / 3
        np.testing.assert_allclose([p for _, p in warm.alternatives], np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)
    old = evaluate.checkpoint(run, "test")
    assert shown.scores() == old.scores() and shown.slices() == old.slices()
    assert [found[0].label for found in shown.predicted] == [found[0].label for found in old.predicted]
    assert shown.reliability is not None and old.reliability is not None
    assert [row["scores"] for row in shown.reliability.rows()] == ["as predicted", "calibrated"]
    assert shown.reliability.rows()[0] == old.reliability.rows()[0]


def test_what_stands_there_must_be_one(run) -> None:
    directory, step = locate(run)
    place = directory / str(step) / calibration.FILE
    broken = {'{"temperature": 1': "not a JSON value", "{}": "expected an object", '{"temperature": 0, "bias": 0}': "above 0"}
    for text, message in broken.items():
        place.write_text(text)
        with pytest.raises(CheckpointError, match=f"{calibration.FILE}.*{message}"):
            calibration.read(directory, step)
    assert calibration.remove(directory, step) and calibration.read(directory, step) is None


def test_a_write_that_fails_leaves_what_was_there(run, monkeypatch) -> None:
    directory, step = locate(run)
    before = calibration.read(directory, step)

    def full(self: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(directory), "replace", full)
    with pytest.raises(OSError, match="No space left"):
        calibration.write(directory, step, {"temperature": 2.0, "bias": 0.0})
    assert calibration.read(directory, step) == before
    assert sorted(path.name for path in (directory / str(step)).glob(".*")) == []


def test_fitted_by_command_for_checkpoints_that_have_none(untrained, tmp_path) -> None:
    """Random parameters find wrong mentions, and triples: their scores come down to how often they are right."""
    for task in ("entities", "triples"):
        copy = shutil.copytree(untrained[task], tmp_path / task)
        file, found = evaluate.calibrate(copy, "val")
        about = json.loads(file.read_text())
        assert about["split"] == "val" and about["predictions"] == len(found.raw.score) > 0
        before, after = found.rows()
        assert after["nll"] <= before["nll"] + 1e-9 and after["right"] == before["right"]
        assert calibration.read(*locate(copy)) == about
    with pytest.raises(ValueError, match="ObjectsTask are no probabilities"):
        evaluate.calibrate(shutil.copytree(untrained["objects"], tmp_path / "objects"), "val")
