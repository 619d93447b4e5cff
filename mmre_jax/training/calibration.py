"""The calibration of a checkpoint's scores: fitted on a split, and kept in its step's folder as calibration.json.

The file is written whole or not at all, and nothing else of the checkpoint changes: a run goes on as it would without it. A step that has
none tells its scores as they are.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmre_jax import storage, tasks
from mmre_jax.data.encoded import Encoded
from mmre_jax.records import Record
from mmre_jax.tasks import events
from mmre_jax.tasks.calibration import Calibration, CalibrationError, from_json
from mmre_jax.tasks.task import Outputs, Task
from mmre_jax.text_files import parse_json
from mmre_jax.training import processes
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.training.evaluate import Predictor, Stopping
from mmre_jax.training.splits import Split

FILE = "calibration.json"

logger = logging.getLogger(__name__)


def read(directory: pathlib.Path, step: int) -> dict[str, Any] | None:
    """What a step's file says: temperature, bias, and what they were fitted on; None where there is no such file.

    Args:
      directory: of the steps, on a disk or in a bucket.

    Raises:
      CheckpointError: for a file that cannot be read as one.
    """
    place = directory / str(step) / FILE
    try:
        text = storage.read_bytes(place).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    try:
        value = parse_json(text, str(place), CalibrationError)
        from_json(value, str(place))
    except CalibrationError as error:
        raise CheckpointError(str(error)) from error
    return dict(value)


def write(directory: pathlib.Path, step: int, value: Mapping[str, Any]) -> pathlib.Path:
    """Puts what `fit` found into a step's folder, in place of what is there. Returns the file.

    Raises:
      OSError: where it cannot be written; what was there stays.
    """
    place = directory / str(step) / FILE
    storage.write_bytes(place, f"{json.dumps(dict(value), indent=2)}\n".encode())
    return place


def remove(directory: pathlib.Path, step: int) -> bool:
    """Removes a step's calibration, whatever the file holds. Returns whether there was one."""
    place = directory / str(step) / FILE
    if storage.size(str(place)) is None:
        return False
    if storage.is_remote(place):
        storage.remove([place])
    else:
        place.unlink()
    return True


def of(value: Mapping[str, Any] | None) -> Calibration:
    """The calibration that `read` has read; the one that changes nothing where there is none."""
    return Calibration() if value is None else Calibration(float(value["temperature"]), float(value["bias"]))


def fit(task: Task, found: events.Events | None, about: Mapping[str, Any]) -> dict[str, Any]:
    """The calibration under which what a checkpoint found in a split is most likely (tasks/calibration.py), as plain values.

    Args:
      found: with scores as the system gives them, as of `raw_events`.
      about: what it is fitted on: split, data, step.

    Returns:
      temperature, bias, predictions (how many it was fitted to), right (the share of them that is), and what `about` says.

    Raises:
      CalibrationError: for a task whose scores have no calibration, or where nothing was found.
    """
    if found is None:
        raise CalibrationError(f"scores of {type(task).__name__} are no probabilities: they have no calibration")
    return {**events.fit(found).to_json(), "predictions": len(found.right), "right": float(found.right.mean()), **about}


def fit_run(
    predictor: Predictor, variables: Any, split: Split, directory: pathlib.Path, about: Mapping[str, Any], stopping: Stopping | None = None
) -> dict[str, Any] | None:
    """`fit` and `write` of a run's step, by all its processes; None, which is told, where there is nothing to fit.

    Args:
      variables: on the devices.
      about: as of `fit`; `step` is the step.
      stopping: as of Predictor.predict.

    Raises:
      Interrupted: where it was to stop.
      OSError: as `write`.
    """
    task = predictor.job.task
    if not isinstance(task, events.SCORED):
        return None
    told = dataclasses.replace(predictor, job=dataclasses.replace(predictor.job, task=tasks.telling(task)))
    predicted = told.predict(variables, split, "calibrate", keep=True, decode=processes.is_first(), stopping=stopping)

    def found() -> dict[str, Any] | None:
        try:
            seen = events.events(task, split.records, [p.found for p in predicted], [p.outputs for p in predicted])
            value = fit(task, seen, about)
        except CalibrationError as error:
            logger.info("scores are told as the system gives them: %s", error)
            return None
        write(directory, about["step"], value)
        logger.info("scores: temperature %.3f, bias %.3f, fitted on %s", value["temperature"], value["bias"], about["split"])
        return value

    return processes.decided(found)


def raw_events(
    task: Task, records: Sequence[Record], outputs: Sequence[Outputs], encoded: Sequence[Encoded] | None
) -> events.Events | None:
    """What an extraction tells of a split, as events, with scores as the system gives them; None for a task without such events."""
    if not isinstance(task, events.SCORED):
        return None
    plain = tasks.calibrated(tasks.telling(task), Calibration())
    tokens = plain.encode(records) if encoded is None else encoded
    found = [plain.decode(*each) for each in zip(outputs, records, tokens, strict=True)]
    return events.events(plain, records, found, outputs)
