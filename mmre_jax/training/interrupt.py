"""A run that is asked to stop."""

from __future__ import annotations

import logging
import signal
from typing import Any

logger = logging.getLogger(__name__)


class Interrupted(RuntimeError):
    """The run stopped early, on purpose or by a signal, with a checkpoint to go on from."""


class StopSignal:
    """Turns the first SIGTERM or SIGINT into a question asked between steps; a second one acts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        try:
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # only the main thread may: elsewhere a run cannot be stopped by signals
            logger.info("not in the main thread: signals do not stop this run gracefully")
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.asked = True
        self._restore()
