"""What is read of a run, and how what is made of it is written: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from mmre_jax import storage
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.job import Job, restore_job, shapes
from mmre_jax.weights.hub import WeightError


def restored(directory: pathlib.Path, step: int) -> tuple[Job, dict[str, Any]]:
    """The job of a checkpoint and its variables.

    Raises:
      CheckpointError: one that is damaged or cannot be read.
    """
    with Checkpoints(directory, read_only=True) as checkpoints:
        job = restore_job(checkpoints.meta(step), checkpoints.where(step))
        return job, checkpoints.restore_variables(step, shapes(job))


def free_folder(target: str | os.PathLike[str]) -> pathlib.Path:
    """A folder on the disk that is to be made.

    Raises:
      FileExistsError: it is there already, and not empty.
    """
    path = storage.on_disk(target, "target")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists already and is not an empty directory")
    return path


def free_file(target: str | os.PathLike[str], what: str) -> pathlib.Path:
    """A file of safetensors on the disk that is to be made. what: it is, as messages name it.

    Raises:
      FileExistsError: it is there already.
      WeightError: it is not called *.safetensors.
    """
    path = storage.on_disk(target, "target")
    if path.suffix != ".safetensors":
        raise WeightError(f"{path}: {what} is written as safetensors; name it *.safetensors")
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    return path


@contextlib.contextmanager
def whole(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name beside `target` to write to, a file or a directory, which takes the target's name in the end, or is removed."""
    part = target.resolve().with_name(f".{target.resolve().name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(target)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
