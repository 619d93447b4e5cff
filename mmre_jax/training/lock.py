"""One run at a time in a workdir.

On a disk a run that finds another one at work does not begin. A bucket has no locks that go with the process that holds them, and a killed
run is to go on at once; so there the run that began last has the workdir, and the one before it ends when it comes to save a checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import socket
import time
import uuid
from collections.abc import Iterator

import jax

from mmre_jax import file_lock, storage
from mmre_jax.text_files import read_text
from mmre_jax.training import processes

NAME = ".lock"

logger = logging.getLogger(__name__)


class WorkdirInUse(OSError):
    """Another run is at work in the workdir."""


class Hold:
    """A run's hold of its workdir. holder: what stands in the lock."""

    def __init__(self, workdir: pathlib.Path, holder: str) -> None:
        self.workdir, self.holder = workdir, holder

    def check(self) -> None:
        """In front of what another run in the workdir would be harmed by; of several processes the first asks.

        Raises:
          WorkdirInUse: in a bucket, where another run has begun there since.
        """
        if not storage.is_remote(self.workdir) or jax.process_index():
            return
        if (found := _said(self.workdir / NAME)) != self.holder:
            now = found.strip() or "unknown"
            raise WorkdirInUse(f"--workdir={self.workdir}: another run has begun in it ({now}); this one ends, and saves nothing more")


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[Hold]:
    """Holds WORKDIR/.lock, in the run's first process; the kernel lets go of it when that process ends, however it ends. In a bucket
    it says who began last.

    A child that the process forks lets go of it at once: the lock goes with the open file, and a child that outlived the run would keep it.

    Raises:
      WorkdirInUse: where another run holds it, naming that run's process.
      OSError: where another process of the run does not see the first one's workdir.
    """
    with contextlib.ExitStack() as held:
        holder = processes.decided(lambda: _take(workdir, held))
        processes.together(lambda: _see(workdir, holder))
        yield Hold(workdir, holder)


def _take(workdir: pathlib.Path, held: contextlib.ExitStack) -> str:
    """Locks until `held` is closed. Returns what stands in the lock: whose it is."""
    own = f"process {os.getpid()} on {socket.gethostname()}\n"
    if storage.is_remote(workdir):
        own = f"{own.strip()}, {uuid.uuid4()}\n"
        storage.write_bytes(workdir / NAME, own.encode())
        logger.info("%s: a bucket has no locks: the run that begins last has the workdir, see to it that it is one", workdir)
        return own
    file = held.enter_context((workdir / NAME).open("a+", encoding="utf-8"))
    if not file_lock.take(file, workdir, "see to it that no other run uses it"):
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise WorkdirInUse(f"--workdir={workdir}: another run is at work in it ({holder}); wait for its end, or use another --workdir")
    file.truncate(0)
    file.write(own)
    file.flush()
    os.register_at_fork(after_in_child=file.close)  # for good; it does nothing to a file that is closed already
    return own


def _see(workdir: pathlib.Path, holder: str) -> None:
    """Waits until the lock says what the first process wrote into it; a network's disk may tell late."""
    path, deadline = workdir / NAME, time.monotonic() + processes.SEEN
    while _said(path) != holder:
        if time.monotonic() > deadline:
            raise OSError(f"--workdir={workdir} on {socket.gethostname()} is not the folder that {holder.strip()} has: it must be shared")
        time.sleep(0.5)


def _said(path: pathlib.Path) -> str:
    """What stands in a lock; '' where there is none."""
    try:
        return read_text(path)
    except FileNotFoundError:
        return ""
