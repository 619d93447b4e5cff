"""Timing several things in turns, so that a machine that slows down slows all of them, and what the times say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Seconds = Mapping[str, Sequence[float]]


def take_turns(timed: Mapping[str, Callable[[], float]], rounds: int, *, warm: int = 1) -> dict[str, list[float]]:
    """What each of `timed` returns, one number a round; every other round goes in reverse order.

    Args:
      rounds: at least 1.
      warm: rounds in front that are not counted.

    Raises:
      ValueError: fewer than one round.
    """
    if rounds < 1:
        raise ValueError(f"at least 1 round is needed to time anything, found {rounds}")
    found: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(-warm, rounds):
        for name in list(timed)[:: 1 if number % 2 == 0 else -1]:
            seconds = timed[name]()
            if number >= 0:
                found[name].append(seconds)
    return found


def medians(seconds: Seconds) -> dict[str, float]:
    """The median of each one's rounds."""
    return {name: float(np.median(values)) for name, values in seconds.items()}


def ratio(seconds: Seconds, name: str, other: str) -> dict[str, float]:
    """How many times as long `name` took as `other`, in pairs of one round: median, low, high."""
    pairs = np.array(seconds[name]) / np.array(seconds[other])
    return {"median": float(np.median(pairs)), "low": float(pairs.min()), "high": float(pairs.max())}
