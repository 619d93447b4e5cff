"""Which records are trained on and which pictures they are shown with: the experiments that the papers' claims rest on.

All of it is a pure function of the data and a seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from mmre_jax.data.dataset import RecordSource

SHUFFLES = ("none", "train", "test", "both")


def stratified(strata: Sequence[str], share: float, seed: int) -> np.ndarray:
    """A share of the records drawn without replacement from each stratum (low-resource training, RSRNeT fig. 5).

    Every stratum gives its share rounded down or up, the largest remainders up, so that the whole is the share rounded.

    Args:
      strata: the stratum of each record.
      share: in (0, 1].

    Returns:
      int64 [round(share * N)], ascending.
    """
    names, member = np.unique(np.array(list(strata), dtype=str), return_inverse=True)
    exact = share * np.bincount(member, minlength=len(names))
    counts = np.floor(exact).astype(np.int64)
    short = round(share * len(member)) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:short]] += 1
    order = np.random.default_rng((seed, 11)).permutation(len(member))
    chosen = [order[member[order] == stratum][:count] for stratum, count in enumerate(counts)]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def is_shuffled(data: ConfigDict, split: str) -> bool:
    """Whether data.shuffle_pictures shows a split with other records' pictures. Never val: the best step is that of the true pictures."""
    return split != "val" and data.shuffle_pictures in (split, "both")


def shuffled_pictures(count: int, seed: int) -> np.ndarray:
    """A permutation int [N] without fixed points that shows every record with another record's picture (the visual shuffle).

    Raises:
      ValueError: for fewer than two records.
    """
    if count < 2:
        raise ValueError(f"the pictures of {count} records cannot be shuffled")
    order = np.random.default_rng((seed, 7)).permutation(count)
    shuffled = np.empty(count, np.int64)
    shuffled[order] = np.roll(order, 1)  # one cycle through all records
    return shuffled


def hidden_pictures(records: RecordSource, picture_of: np.ndarray, share: float, seed: int) -> np.ndarray:
    """`picture_of` with -1 (no picture) for all but a share of the data set's pictures (DGF-PT fig. 3).

    Records that share a picture keep or lose it together.

    Args:
      picture_of: int [N], the record whose picture each record is shown with.
      share: of the different pictures that stay, in [0, 1].
      seed: pictures of a smaller share with the same seed are among those of a larger one.
    """
    images = [records[i].image or "" for i in range(len(records))]
    names = sorted(set(images))
    kept = {names[i] for i in np.random.default_rng((seed, 13)).permutation(len(names))[: round(share * len(names))]}
    return np.array([other if images[other] in kept else -1 for other in picture_of.tolist()], np.int64)
