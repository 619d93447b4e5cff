"""Means over a split that comes batch by batch: nothing larger than a batch is ever in memory."""

from __future__ import annotations

import numpy as np


class Mean:
    """A mean over records, of each element of an array by itself."""

    def __init__(self) -> None:
        self._total: np.ndarray | None = None
        self._count: np.ndarray | None = None

    def add(self, values: np.ndarray, there: np.ndarray | None = None) -> None:
        """Takes in values [B, ...]; there: bool [B, ...], which of them count, with the axes that it has from the left. None: all.

        Raises:
          ValueError: for `there` of other axes, or values of another shape than before.
        """
        kept = np.ones(values.shape[:1], bool) if there is None else there
        if kept.shape != values.shape[: kept.ndim]:
            raise ValueError(f"values {list(values.shape)} come with there {list(kept.shape)}: its axes are the first ones of the values")
        kept = kept.reshape(*kept.shape, *(1,) * (values.ndim - kept.ndim))
        total = np.where(kept, values, 0.0).sum(axis=0, dtype=np.float64)
        count = kept.sum(axis=0)
        if self._total is not None and self._total.shape != total.shape:
            raise ValueError(f"values of shape {list(total.shape)} for each record come behind such of {list(self._total.shape)}")
        self._total = total if self._total is None else self._total + total
        self._count = count if self._count is None else self._count + count

    @property
    def count(self) -> int:
        """The most records that any element is a mean of."""
        return 0 if self._count is None else int(self._count.max(initial=0))

    def value(self) -> np.ndarray:
        """The mean, float64; NaN for an element that no record had.

        Raises:
          ValueError: before anything was added.
        """
        if self._total is None or self._count is None:
            raise ValueError("a mean of no records")
        count = np.broadcast_to(self._count, self._total.shape)
        return np.divide(self._total, count, out=np.full(self._total.shape, np.nan), where=count > 0)
