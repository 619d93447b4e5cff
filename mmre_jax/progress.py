"""How far a long task is: a bar where a person watches a terminal, now and then a line in the log elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")
logger = logging.getLogger(__name__)

TENTH, LULL = 5.0, 30.0  # seconds between two lines: at least where another tenth is done, at most in any case


class Progress:
    """Counts steps towards a total. A context manager.

    On a terminal it is a tqdm bar. Elsewhere, where a bar would fill a file with fragments, it logs a line for each tenth (no two within
    five seconds) and whenever thirty seconds have passed without one: how much is done, how fast, and how long the rest will take.

    Args:
      name: of the task; nothing is shown where empty.
      total: how many steps there are.
      start: how many of them were done before.
      unit: what a step is called.
      leave: whether a bar stays when it is full.
      cold: the first steps come with what is done once, such as compilation: nothing is said of speed before `warm` is called.
      stream: where a bar is drawn, standard error if None; it decides whether there is one.
      clock: seconds that pass.
    """

    def __init__(
        self,
        name: str,
        total: int,
        *,
        start: int = 0,
        unit: str = "it",
        leave: bool = True,
        cold: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self.name, self.total, self.start, self.done, self.unit, self.cold = name, total, start, start, unit, cold
        self._clock = clock
        self._began = self._said = clock()
        self._tenth = self._tenths()
        self._bar: tqdm[Any] | None = None
        if name and on_terminal(stream):
            self._bar = tqdm(total=total, initial=start, desc=name, unit=unit, leave=leave, file=stream, mininterval=1.0)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, note: str = "") -> None:
        """One more step is done; `note` stands behind the numbers until there is another."""
        self.done += 1
        if self._bar is not None:
            if self.cold:
                self._bar.unpause()
            self._bar.update()
            if note:
                self._bar.set_postfix_str(note, refresh=False)
        elif self.name:
            now = self._clock()
            lull = now - self._said
            if lull >= LULL or (lull >= TENTH and self._tenths() > self._tenth):
                logger.info("%s%s", self._line(now), note and f", {note}")
                self._said, self._tenth = now, self._tenths()

    def warm(self) -> None:
        """What is done from now on says how fast it goes, where the start was cold."""
        if not self.cold:
            return
        self.cold, self.start, self._began = False, self.done, self._clock()
        if self._bar is not None:
            self._bar.unpause()
            self._bar.initial = self._bar.last_print_n = self._bar.n
            self._bar.refresh()

    def _tenths(self) -> int:
        return 10 * self.done // max(self.total, 1)

    def _line(self, now: float) -> str:
        done = f"{self.name}: {self.done:,} of {self.total:,} ({100 * self.done // max(self.total, 1)} %)"
        if self.cold or self.done == self.start:
            return done
        rate = (self.done - self.start) / max(now - self._began, 1e-9)
        speed = f"{rate:,.1f} {self.unit}/s" if rate >= 1 else f"{1 / rate:,.1f} s/{self.unit}"
        left = f"{tqdm.format_interval((self.total - self.done) / rate)} left"
        return f"{done}, {speed}, {left}"


def track(items: Iterable[T], name: str, total: int, *, unit: str = "it", leave: bool = True) -> Iterator[T]:
    """The items, counted as each is dealt with; see `Progress`."""
    with Progress(name, total, unit=unit, leave=leave) as progress:
        for item in items:
            yield item
            progress.advance()


def on_terminal(stream: TextIO | None) -> bool:
    """Whether a person watches what is written to a stream; a program without standard error has None."""
    return stream is not None and stream.isatty()
