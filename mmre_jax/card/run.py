"""What there is of a run to say."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from mmre_jax import storage
from mmre_jax.text_files import parse_json
from mmre_jax.training import calibration
from mmre_jax.training.checkpoint import CheckpointError, Checkpoints
from mmre_jax.training.job import Job, read_meta, restore_job, shapes
from mmre_jax.training.locate import locate


@dataclasses.dataclass(frozen=True)
class Run:
    """What a card is made of. metrics: of the run's metrics.json; None where there is none. calibration: likewise, of the step's."""

    name: str
    step: int
    meta: Mapping[str, Any]
    job: Job
    parts: Mapping[str, int]  # numbers in each part of the system
    metrics: Mapping[str, Any] | None
    calibration: Mapping[str, Any] | None

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.job.config.task.name)

    @property
    def scored(self) -> bool:
        """Whether metrics.json is of this very step."""
        return self.metrics is not None and self.metrics.get("best_step") == self.step


def open_run(checkpoint: str | os.PathLike[str], name: str = "") -> Run:
    """What there is of a run; arguments and errors as of `write.card`."""
    directory, step = locate(checkpoint)
    with Checkpoints(directory, read_only=True) as checkpoints:
        where = checkpoints.where(step)
        meta = read_meta(checkpoints.meta(step), where)
    job = restore_job(meta, where)
    parts: dict[str, int] = {}
    for part, tree in shapes(job)["params"].items():
        parts[part] = sum(int(leaf.size) for leaf in jax.tree.leaves(tree))
    metrics = _json(directory.parent / "metrics.json")
    return Run(name or directory.parent.name, step, meta, job, parts, metrics, calibration.read(directory, step))


def _json(path: pathlib.Path) -> Mapping[str, Any] | None:
    try:
        text = storage.read_bytes(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    found = parse_json(text, str(path), CheckpointError, what="a JSON file")
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, expected an object")
    return found
