"""Locks on open files: the kernel lets go of one when the file is closed, or the process that holds it ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from typing import IO, Any

logger = logging.getLogger(__name__)


def take(file: int | IO[Any], where: str | os.PathLike[str], advice: str) -> bool:
    """Locks an open file, without waiting.

    Args:
      file: the open file, or its descriptor.
      where: what is called so where its file system has no locks, which is a warning.
      advice: what the warning says is to be done then.

    Returns:
      False where another process holds it; True else, also where there are no locks.

    Raises:
      OSError: it cannot be locked for another reason.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        logger.warning("%s: its file system has no locks (%s): %s", where, error.strerror, advice)
    return True


def wait_for(file: int | IO[Any]) -> None:
    """Locks an open file when no other process holds it any more."""
    fcntl.flock(file, fcntl.LOCK_EX)
