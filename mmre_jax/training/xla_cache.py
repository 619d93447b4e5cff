"""Compiled programs kept in a folder, so that what was compiled once starts at once, whichever entry point asks for it.

JAX_COMPILATION_CACHE_DIR=DIR puts them elsewhere and JAX_ENABLE_COMPILATION_CACHE=false keeps none, for all programs.
"""

from __future__ import annotations

import logging
import os
import stat

import jax

from mmre_jax import storage
from mmre_jax.settings import TRAIN

FOLDER = str(TRAIN["compilation_cache"].default)
LEAST = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.1, "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": 0}
logger = logging.getLogger(__name__)


def enable(folder: str) -> None:
    """Keeps compiled programs in a folder of the user's own; '' leaves all as it is.

    Programs of a tenth of a second are kept too, since a start compiles many of them; JAX's own variables say otherwise.

    Raises:
      OSError: naming the setting, if the folder cannot be made, is not on a disk, or can be written to by anyone: what lies there is run.
    """
    if not folder:
        return
    path = storage.on_disk(folder, "train.compilation_cache").expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise type(error)(error.errno, f"train.compilation_cache={folder}: the folder cannot be made ({error.strerror})") from error
    if path.stat().st_mode & stat.S_IWOTH:
        raise PermissionError(f"train.compilation_cache={folder}: anyone can write to this folder, and what lies there is run as it is")
    jax.config.update("jax_compilation_cache_dir", str(path))
    for name, least in LEAST.items():
        if name not in os.environ:
            jax.config.update(name.lower(), least)


def enable_usual() -> None:
    """`enable` at FOLDER, for programs without settings, unless JAX was given another place; a warning where that cannot be."""
    if jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache:
        return
    try:
        enable(FOLDER)
    except OSError as error:
        logger.warning("compiled programs are not kept: %s", error)
