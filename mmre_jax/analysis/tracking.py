"""Hierarchical tracking maps: how much of each original patch is in a later patch, and in what a word finds (HVFormer, section 3.5)."""

from __future__ import annotations

import numpy as np


def patch_tracking(attention: np.ndarray) -> np.ndarray:
    """H_V: H_V[0] = I, H_V[l] = norm(H_V[l-1] + mean_k A_V[l,k] H_V[l-1]), rows normalised to 1 (eq. 13-17).

    Args:
      attention: float [..., N, P, P], for each layer the mean over its K heads of the self-attention A_V.

    Returns:
      [..., N + 1, P, P]: row i of level l says how much of each embedded patch is in patch i behind l layers.

    Raises:
      ValueError: for maps that are not square.
    """
    if attention.ndim < 3 or attention.shape[-1] != attention.shape[-2]:
        raise ValueError(f"self-attention is [..., N, P, P], found {list(attention.shape)}")
    places = attention.shape[-1]
    levels = [np.broadcast_to(np.eye(places, dtype=attention.dtype), (*attention.shape[:-3], places, places))]
    for layer in np.moveaxis(attention, -3, 0):
        levels.append(normalised(levels[-1] + layer @ levels[-1]))
    return np.stack(levels, axis=-3)


def token_tracking(cross: np.ndarray, tracked: np.ndarray) -> np.ndarray:
    """H_C[l,m] = norm(A_C[l,m] H_V[l]), rows normalised to 1 (eq. 18).

    Args:
      cross: A_C of one level, float [..., W, P]: rows of words, of any heads before them.
      tracked: H_V of that level, float [..., P, P], whose leading axes broadcast with those of `cross`.

    Returns:
      [..., W, P]: how much of each embedded patch is in what a word finds at that level. A row that attends to nothing stays 0.
    """
    return normalised(cross @ tracked)


def normalised(maps: np.ndarray) -> np.ndarray:
    """Rows that sum to 1; rows of zeros stay as they are."""
    sums = maps.sum(axis=-1, keepdims=True)
    return np.divide(maps, sums, out=np.zeros_like(maps), where=sums != 0)
