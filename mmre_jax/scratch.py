"""Temporary folders that are removed although their process was killed: by the next process that needs one."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import tempfile

PREFIX, HELD = "mmre_jax_", ".held"


class Scratch:
    """A folder in TMPDIR, which a process holds as long as it lives.

    folder: with nothing in it but the file HELD, which is locked.
    """

    def __init__(self) -> None:
        _sweep()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self._held = (self.folder / ".new").open("w")
        fcntl.flock(self._held, fcntl.LOCK_EX)
        (self.folder / ".new").rename(self.folder / HELD)  # `_sweep` of another process is not to come by one that is not held yet

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._held.close()


def _sweep() -> None:
    """Removes this user's folders that no process holds: the kernel lets go of what a killed one held."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            with (folder / HELD).open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it is held, or just being made or removed by another process
            continue
