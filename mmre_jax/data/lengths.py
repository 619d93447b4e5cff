"""To how many tokens batches are padded, and how far records of like length are put together: chosen from the training split's lengths.

Each padded length is compiled by itself, so there are to be few; what is padded is computed in vain, so they are to be near the records'.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from mmre_jax.data.loader import Order

STEP = 8  # padded lengths are multiples of it, as matrix units like them
MOST = 4  # lengths that training is compiled for
WORTH = 0.03  # of the padded tokens: what a further length has to save
WINDOWS = (1, 4, 16)
NEAR = 1.05  # the smallest window that pads this many times the tokens of the best one is taken


@dataclasses.dataclass(frozen=True)
class Padding:
    """What was chosen.

    buckets, window: as settings `data.buckets` and `data.window`.  mean: tokens of a record.  padded: of a record of a batch.
    """

    buckets: tuple[int, ...]
    window: int
    mean: float
    padded: float

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.buckets))
        return f"padded to {shown} tokens, in windows of {self.window} batches: {self.mean:.1f} tokens a record, {self.padded:.1f} padded"


def buckets_of(config: ConfigDict) -> tuple[int, ...]:
    """A configuration's padded lengths; where they are yet to be chosen, all that could be."""
    longest = config.text.max_tokens
    return tuple(config.data.buckets) or (*range(STEP, longest, STEP), longest)


def choose(lengths: np.ndarray, config: ConfigDict) -> Padding:
    """What pads little at few lengths, of those of data.buckets and data.window that a configuration leaves open, () and 0.

    The largest length is that of the longest sequence there can be, so that any record fits; training is not compiled for it unless it
    occurs there. The choice is a function of the arguments alone.

    Args:
      lengths: of the training examples in tokens, int [N].
      config: sections data, text and train are read.
    """
    given = tuple(config.data.buckets)
    found = []
    for window in (config.data.window,) if config.data.window else WINDOWS:
        longest = _longest(lengths, config, window)
        buckets = given or fewest(longest, config.text.max_tokens)
        padded = float(np.array(buckets)[np.searchsorted(buckets, longest)].mean())
        found.append(Padding(buckets, window, float(lengths.mean()), padded))
    best = min(padding.padded for padding in found)
    return next(padding for padding in found if padding.padded <= NEAR * best)


def fewest(longest: Sequence[int] | np.ndarray, limit: int) -> tuple[int, ...]:
    """At most MOST padded lengths that waste the fewest tokens, none of which saves less than WORTH; and `limit`, if it is not one.

    Args:
      longest: of each step, the tokens of its longest record; none is above `limit`.
      limit: tokens of the longest sequence there can be.
    """
    values, counts = np.unique(np.minimum(-(-np.asarray(longest) // STEP) * STEP, limit), return_counts=True)
    heights, up_to = values.tolist(), np.cumsum(counts).tolist()
    last = len(heights) - 1
    # Of the steps up to each height, (tokens, padded lengths) with one more length each time, the largest being that height.
    best = {j: (heights[j] * up_to[j], (heights[j],)) for j in range(last + 1)}
    tokens, buckets = best[last]
    for _ in range(min(MOST, last + 1) - 1):
        best = {
            j: min((best[i][0] + heights[j] * (up_to[j] - up_to[i]), (*best[i][1], heights[j])) for i in best if i < j)
            for j in range(min(best) + 1, last + 1)
        }
        if best[last][0] > (1 - WORTH) * tokens:
            break
        tokens, buckets = best[last]
    return buckets if buckets[-1] >= limit else (*buckets, limit)


def _longest(lengths: np.ndarray, config: ConfigDict, window: int) -> np.ndarray:
    """Of each step of the first epoch, the tokens of its longest record."""
    every = (*range(1, config.text.max_tokens), max(config.text.max_tokens, int(lengths.max())))
    return Order(lengths, config.train.batch, every, True, config.train.seed, window).epoch(0)[1]
