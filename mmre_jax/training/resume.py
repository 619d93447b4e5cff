"""Going on with a run: what its workdir holds, and whether it is the same run."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.data.dataset import RecordSource
from mmre_jax.training import identity, processes
from mmre_jax.training.checkpoint import FOLDER, CheckpointError, Checkpoints, DamagedCheckpoint
from mmre_jax.training.job import Job, read_meta, restore_job
from mmre_jax.training.state import TrainState

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Settings that may differ between a run and its continuation: they change no number that was or will be computed, but for rounding.
FREE = (
    "train.max_steps",
    "train.log_every",
    "train.save_every",
    "train.compilation_cache",
    "train.remat",
    "text.attention",
    "vision.attention",
    "train.eval_batch",
    "train.init_from",
    "train.init_parts",
    "data.root",
    "data.captions",
    "data.workers",
    "data.threads",
    "data.resident",
    "data.require_images",
    "data.verdicts",
    "data.features",
    "data.features_folder",
    "parallel.devices",
    "parallel.mapping",
    "parallel.mesh.data",
    "parallel.mesh.fsdp",
    "text.weights",
    "text.vectors",
    "vision.weights",
)


@dataclasses.dataclass(frozen=True)
class Saved:
    """The last complete checkpoint of a workdir: its step, its metadata in the present format, and its directory."""

    step: int
    meta: Mapping[str, Any]
    where: pathlib.Path

    @property
    def tokenizer(self) -> str:
        """As JSON; '' where nothing but a tokenizer trained anew can tell whether the data are the same."""
        return "" if self.meta["data"] is None else str(self.meta["tokenizer"])


def last_saved(workdir: pathlib.Path) -> Saved | None:
    """What a run in this workdir goes on from, as its first process finds it; None where there is nothing.

    Where the last checkpoint's metadata are damaged it is the one before, and the log says so.

    Raises:
      CheckpointError: where all are damaged, or of an unknown format.
    """
    if not processes.decided(lambda: storage.is_dir(workdir / FOLDER)):
        return None
    with Checkpoints(workdir / FOLDER, read_only=True) as checkpoints:
        found = _first_whole(processes.decided(checkpoints.steps), checkpoints.meta)
        return None if found is None else Saved(found[0], read_meta(found[1], checkpoints.where(found[0])), checkpoints.where(found[0]))


def as_padded(config: ConfigDict, saved: Saved) -> ConfigDict:
    """A configuration whose padded lengths and window, where it leaves them open, are those of the run that goes on."""
    before = restore_job(saved.meta, saved.where).config.data
    config = config.copy_and_resolve_references().unlock()
    config.data.buckets = config.data.buckets or before.buckets
    config.data.window = config.data.window or before.window
    return config.lock()


def restore(checkpoints: Checkpoints, saved: Saved, state: TrainState) -> TrainState:
    """The state of the last checkpoint; of the one before, if it is damaged, which the log says. Damaged ones are removed: the run will
    come by their steps again.

    Args:
      checkpoints: of the run, not read-only.
      state: as `Checkpoints.restore`.

    Raises:
      CheckpointError: where all are damaged, or do not fit.
    """
    steps = processes.decided(checkpoints.steps)
    found = _first_whole([step for step in steps if step <= saved.step], lambda step: checkpoints.restore(step, state))
    if found is None:
        raise CheckpointError(f"{checkpoints.directory}: the checkpoint of step {saved.step} is gone")
    for step in steps:
        if step > found[0]:
            checkpoints.forget(step)
    logger.info("resumed from step %d of %s", found[0], checkpoints.directory)
    return found[1]


def _first_whole(steps: Sequence[int], read: Callable[[int], T]) -> tuple[int, T] | None:
    """(step, what is read of it) of the first step that no process finds damaged; None where there are no steps."""
    damages: list[CheckpointError | processes.ProcessError] = []
    for step in steps:
        try:
            return step, processes.together(lambda step=step: read(step))
        except (DamagedCheckpoint, processes.ProcessError) as damage:
            damages.append(damage)
            logger.warning("%s; looking for the checkpoint before it", " ".join(str(damage).split())[:300])
    if damages:
        raise damages[0]
    return None


def check_same(saved: Saved, job: Job, data: identity.Identity, records: Mapping[str, RecordSource], workdir: pathlib.Path) -> None:
    """Refuses to resume a checkpoint of another configuration or of other data, naming the differences.

    Args:
      saved: the checkpoint, of `workdir`.
      data, records: of this run, by split.
    """
    before = restore_job(saved.meta, saved.where).config
    lines = [line for line in _differences(before.to_dict(), job.config.to_dict()) if not line.startswith(tuple(f"{key}:" for key in FREE))]
    if any(line.startswith("train.epochs:") for line in lines):
        lines.append(_of_epochs(saved.step, before.train.epochs, job.config.train.epochs, workdir))
    if lines:
        raise CheckpointError(f"the workdir holds a checkpoint of another configuration; use another --workdir:\n  {_joined(lines)}")
    if saved.meta["data"] is None:
        logger.info("the checkpoint does not say what its data were: that they are the same could not be checked")
    elif lines := identity.differences(saved.meta["data"], data, records):
        raise CheckpointError(f"the run in {workdir} was begun on other data; give it those, or use another --workdir:\n  {_joined(lines)}")
    if lines := [name for name in ("labels", "none", "tokenizer") if saved.meta[name] != job.meta()[name]]:
        raise CheckpointError(f"the workdir holds a checkpoint with another {', '.join(lines)}; use another --workdir")


def _differences(saved: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lines that name the keys in which two nested configurations differ."""
    lines = []
    for key in sorted(saved.keys() | wanted.keys()):
        name, a, b = f"{prefix}{key}", saved.get(key, "(absent)"), wanted.get(key, "(absent)")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += _differences(a, b, f"{name}.")
        elif a != b:
            lines.append(f"{name}: {a!r} in the checkpoint, {b!r} here")
    return lines


def _joined(lines: list[str]) -> str:
    return "\n  ".join(lines)


def _of_epochs(step: int, old: int, new: int, workdir: pathlib.Path) -> str:
    """Why a run of some epochs cannot become one of others."""
    where = f"has ended with step {step}" if (workdir / "metrics.json").is_file() else f"is under way, at step {step}"
    return (
        f"its learning rates were scheduled over train.epochs={old}, and that schedule {where}: it cannot become one over {new}. "
        f"To train on from its parameters: --workdir=ANOTHER --config.train.init_from={workdir}"
    )


def tell_devices(saved: Saved, job: Job, devices: int) -> None:
    """Logs what it means that a run goes on on another number of devices."""
    before = saved.meta["devices"]
    if before is None or before == devices:
        return
    what = f"the run goes on on {devices} device(s), until step {saved.step} it was on {before}"
    if causes := depending_on_devices(job):
        logger.warning("%s: its numbers will differ from those of an unchanged run, because of %s", what, ", ".join(causes))
    else:
        logger.info("%s: its losses stay those of an unchanged run to 1e-5", what)


def depending_on_devices(job: Job) -> list[str]:
    """The settings of a run that make its numbers depend on how many devices it is on, beyond the order of additions."""
    config = job.config
    sections = ("text", "vision", "system") if job.system.plan else ("text", "system")
    found = [
        f"{section}.{name}={value}"
        for section in sections
        for name, value in config[section].items()
        if name.endswith("dropout") and value and (name != "head_dropout" or config.task.name == "entities")
    ]
    if job.system.plan and config.vision.kind != "vit" and config.vision.norm == "batch" and "vision" not in config.optim.frozen:
        found.append("vision.norm=batch")
    if config.optim.accumulate > 1:  # the parts of a batch are other records then
        found.append(f"optim.accumulate={config.optim.accumulate}")
    return found + ([f"train.dtype={config.train.dtype}"] if config.train.dtype != "float32" else [])
