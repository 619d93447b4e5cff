"""One run at a time in a workdir."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from mmre_jax.text_files import read_text
from mmre_jax.training import processes

NAME = ".lock"
SEEN = 60.0  # seconds within which what one machine writes is to be seen by the others

logger = logging.getLogger(__name__)


class WorkdirInUse(OSError):
    """Another run is at work in the workdir."""


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Holds WORKDIR/.lock, in the run's first process; the kernel lets go of it when that process ends, however it ends.

    A child that the process forks lets go of it at once: the lock goes with the open file, and a child that outlived the run would keep it.

    Raises:
      WorkdirInUse: where another run holds it, naming that run's process.
      OSError: where another process of the run does not see the first one's workdir.
    """
    with contextlib.ExitStack() as held:
        holder = processes.decided(lambda: _take(workdir, held))
        processes.together(lambda: _see(workdir, holder))
        yield


def _take(workdir: pathlib.Path, held: contextlib.ExitStack) -> str:
    """Locks until `held` is closed. Returns what stands in the lock: whose it is."""
    file = held.enter_context((workdir / NAME).open("a+", encoding="utf-8"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        message = f"--workdir={workdir}: another run is at work in it ({holder}); wait for its end, or use another --workdir"
        raise WorkdirInUse(message) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        logger.warning("%s: its file system has no locks (%s): see to it that no other run uses it", workdir, error.strerror)
    own = f"process {os.getpid()} on {socket.gethostname()}\n"
    file.truncate(0)
    file.write(own)
    file.flush()
    os.register_at_fork(after_in_child=file.close)  # for good; it does nothing to a file that is closed already
    return own


def _see(workdir: pathlib.Path, holder: str) -> None:
    """Waits until the lock says what the first process wrote into it; a network's disk may tell late."""
    path, deadline = workdir / NAME, time.monotonic() + SEEN
    while not path.is_file() or read_text(path) != holder:
        if time.monotonic() > deadline:
            raise OSError(f"--workdir={workdir} on {socket.gethostname()} is not the folder that {holder.strip()} has: it must be shared")
        time.sleep(0.5)
