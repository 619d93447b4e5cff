"""How concentrated attention is, and how much heads differ (HVFormer, eq. 19-20)."""

from __future__ import annotations

import numpy as np


def kurtosis(values: np.ndarray) -> np.ndarray:
    """mu_4 / sigma^4 - 3 of the values along the last axis (eq. 19), float64 [...]; NaN where they are all the same.

    Args:
      values: float [..., P], such as one head's attention to P patches. High: few patches stand out.
    """
    centred = values - values.mean(axis=-1, keepdims=True, dtype=np.float64)
    variance = (centred**2).mean(axis=-1)
    fourth = (centred**4).mean(axis=-1)
    return np.divide(fourth, variance**2, out=np.full(variance.shape, np.nan), where=variance > 0) - 3.0


def divergence_of_heads(maps: np.ndarray) -> np.ndarray:
    """sum_m sum_i H[m,i] log(H[m,i] / mean_m H[m,i]): how far heads are from their mean (eq. 20), in nats, float64 [...].

    As printed the sum runs over i = 1..P of a single row; a map of several rows, of words, has a value for each.

    Args:
      maps: float [M, ..., P]: for each of M heads distributions over P patches. Zeros count as 0 log 0 = 0.

    Raises:
      ValueError: for negative values.
    """
    heads = maps.astype(np.float64)
    if (heads < 0).any():
        raise ValueError("distributions have no negative values")
    ratio = np.divide(heads, heads.mean(axis=0), out=np.ones_like(heads), where=heads > 0)
    return (heads * np.log(ratio)).sum(axis=(0, -1))
