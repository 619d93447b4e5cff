"""Whether a difference between programs that predicted the same records is more than chance: paired bootstrap, McNemar, Holm.

All of it says how much a difference owes to which records happen to be in the split. How much it owes to the seed of training is another
question, which only runs of several seeds answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import binomtest

_BLOCK = 4_000_000  # numbers that are drawn at a time: about 32 MB


def f1(counts: np.ndarray) -> np.ndarray:
    """2 right / (predicted + gold), 0 where nothing is predicted or gold.

    Args:
      counts: [..., 3], right, predicted, gold. With 1 predicted and 1 gold of each record it is the accuracy.
    """
    right, both = counts[..., 0], counts[..., 1] + counts[..., 2]
    return np.divide(2.0 * right, both, out=np.zeros(right.shape), where=both > 0)


def draws(records: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of records drawn with replacement, int64 [b, N] at a time, [resamples, N] in all, the same however they are cut."""
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK // max(records, 1))
    for start in range(0, resamples, rows):
        yield random.integers(records, size=(min(rows, resamples - start), records))


def resampled_f1(counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The F1 of each set of counts in each bootstrap resample of the records (Efron and Tibshirani 1993, chapter 6).

    F1 is a function of sums over records, so a resample is a matrix product with how often each record was drawn. All programs are scored
    on the same resamples: the bootstrap is paired.

    Args:
      counts: int [N, ..., 3], right, predicted and gold of each record.

    Returns:
      float [resamples, ...].

    Raises:
      ValueError: for no records, or no resamples.
    """
    records = len(counts)
    if not records or resamples < 1:
        raise ValueError(f"a bootstrap needs records and resamples, found {records} and {resamples}")
    flat = counts.reshape(records, -1).astype(np.float64)  # sums of whole numbers, exact
    found = []
    for drawn in draws(records, resamples, seed):
        places = drawn + records * np.arange(len(drawn))[:, None]
        times = np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape)
        found.append(f1((times.astype(np.float64) @ flat).reshape(len(drawn), *counts.shape[1:])))
    return np.concatenate(found)


def interval(differences: np.ndarray, level: float = 0.95) -> np.ndarray:
    """The percentile interval over resamples (Efron and Tibshirani 1993, chapter 13): float [2, ...], low and high.

    Args:
      differences: float [resamples, ...].
    """
    return np.quantile(differences, [(1 - level) / 2, (1 + level) / 2], axis=0)


def p_value(differences: np.ndarray) -> float:
    """The two-sided bootstrap p value of a difference: twice the smaller share of resamples that do not lie on one side of 0, at most 1.

    It is the level at which the percentile interval begins to hold 0, the two-sided form of Koehn's (2004) count of resamples in which one
    system is better. 1 is added to the count and to the number of resamples (Davison and Hinkley 1997, chapter 4), so that it is never 0.

    Args:
      differences: float [resamples].
    """
    least = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2.0 * (1 + least) / (len(differences) + 1))


@dataclasses.dataclass(frozen=True)
class McNemar:
    """Of two programs, how many records only the first and only the second has right, and the exact two-sided p value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's test, exact: of the records that one of the two has right, each has them with probability 1/2 (a binomial test).

    Args:
      first, second: bool [N], whether each record is right.
    """
    counts = int((first & ~second).sum()), int((second & ~first).sum())
    return McNemar(*counts, float(binomtest(counts[0], sum(counts)).pvalue) if sum(counts) else 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for there being several (Holm 1979), in their order: the i-th smallest of m times m - i + 1, none below a smaller
    one's, at most 1."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
