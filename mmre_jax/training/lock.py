"""One run at a time in a workdir."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import pathlib
import socket
from collections.abc import Iterator

import jax

NAME = ".lock"

logger = logging.getLogger(__name__)


class WorkdirInUse(OSError):
    """Another run is at work in the workdir."""


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Holds WORKDIR/.lock, in the run's first process; the kernel lets go of it when that process ends, however it ends.

    A child that the process forks lets go of it at once: the lock goes with the open file, and a child that outlived the run would keep it.

    Raises:
      WorkdirInUse: where another run holds it, naming that run's process.
    """
    if jax.process_index():
        yield
        return
    path = workdir / NAME
    with path.open("a+", encoding="utf-8") as file:
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
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        os.register_at_fork(after_in_child=file.close)  # for good; it does nothing to a file that is closed already
        yield
