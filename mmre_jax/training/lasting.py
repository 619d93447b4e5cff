"""What is made while data are read lasts as long as they are used: Python's search for cycles passes it over.

Else the search walks through all records again and again while they are read and programs are traced: a fifth of the time until the first
step of 12,288 small records.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def lasting() -> Iterator[Callable[[], None]]:
    """No cycles are searched for until what it yields is called, and then in what is made afterwards alone, until the block's end."""
    if not gc.isenabled() or gc.get_freeze_count():  # whoever calls has a way of its own
        yield lambda: None
        return
    gc.collect()  # what nobody needs is not to be kept
    gc.disable()

    def read() -> None:
        gc.freeze()
        gc.enable()

    try:
        yield read
    finally:
        gc.unfreeze()
        gc.enable()
