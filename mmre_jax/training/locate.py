"""Which checkpoint a path means: a run's workdir its best, a step's directory that one."""

from __future__ import annotations

import os
import pathlib

from mmre_jax import storage
from mmre_jax.training.checkpoint import FOLDER, CheckpointError, Checkpoints


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a run's workdir, or one step's directory: something for `locate`."""
    folder = storage.absolute(path)
    return _is_step(folder) or storage.is_dir(folder / FOLDER)


def _is_step(folder: pathlib.Path) -> bool:
    named = folder.name.isdigit() and (folder.parent.name == FOLDER or storage.is_dir(folder / "meta"))
    return named and storage.is_dir(folder)


def locate(path: str | os.PathLike[str]) -> tuple[pathlib.Path, int]:
    """(directory of the steps, step) of a run's workdir, or of one step's directory, which may have been copied anywhere.

    Raises:
      CheckpointError: if there is no checkpoint, or a part of it is lost.
    """
    folder = storage.absolute(path)
    if _is_step(folder):
        directory, step = folder.parent, int(folder.name)
    elif storage.is_dir(folder / FOLDER):
        with Checkpoints(folder / FOLDER, read_only=True) as checkpoints:
            found_step = checkpoints.preferred()
        if found_step is None:
            raise CheckpointError(f"{folder}: the run has no complete checkpoint yet")
        directory, step = folder / FOLDER, found_step
    else:
        raise CheckpointError(f"{path}: neither a run's workdir nor the directory of a step, named by its number")
    found = directory / str(step)
    if lost := [part for part in ("meta", "variables") if not storage.is_dir(found / part)]:
        raise CheckpointError(f"{found}: incomplete checkpoint: {' and '.join(lost)} missing")
    return directory, step
