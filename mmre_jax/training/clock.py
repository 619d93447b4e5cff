"""How fast a run trains."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Times training steps, and in them the waiting for data.

    Args:
      skip: steps at the start that are not counted, such as those that compile.
    """

    def __init__(self, skip: int = 0) -> None:
        self._left = skip
        self._steps, self._seconds, self._waited = 0, 0.0, 0.0
        self._waiting = 0.0  # of the step under way

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Around one step."""
        began, self._waiting = time.perf_counter(), 0.0
        yield
        if self._left:
            self._left -= 1
            return
        self._steps += 1
        self._seconds += time.perf_counter() - began
        self._waited += self._waiting

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for data in a step."""
        began = time.perf_counter()
        yield
        self._waiting += time.perf_counter() - began

    def speed(self, batch: int) -> dict[str, float]:
        """Steps and records a second, and the share of that time spent waiting for data; {} where no step was counted."""
        if not self._steps:
            return {}
        rate = self._steps / self._seconds
        return {"steps_per_second": rate, "records_per_second": rate * batch, "waiting_for_data": self._waited / self._seconds}
