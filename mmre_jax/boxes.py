"""Boxes: the two ways to write them, and how much two of them overlap.

Corners are (x_min, y_min, x_max, y_max), centres (cx, cy, w, h), floats (float32 or wider) in any unit of length. NumPy arrays give NumPy
arrays, JAX arrays give JAX arrays. A box whose width or height is not positive is empty, its area 0. Of finite boxes all results and
gradients are finite.
"""

from __future__ import annotations

from types import ModuleType
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Array = TypeVar("Array", np.ndarray, jax.Array)

# Areas up to this one count as 0: the gradient of a ratio divides by their square, which float32 cannot hold any more.
_NOTHING = 1e-18


def to_corners(centres: Array) -> Array:
    """(cx, cy, w, h) [..., 4] -> (x_min, y_min, x_max, y_max) [..., 4]."""
    middle, half = centres[..., :2], centres[..., 2:] / 2
    return _namespace(centres).concatenate([middle - half, middle + half], axis=-1)


def to_centres(corners: Array) -> Array:
    """(x_min, y_min, x_max, y_max) [..., 4] -> (cx, cy, w, h) [..., 4]."""
    low, high = corners[..., :2], corners[..., 2:]
    return _namespace(corners).concatenate([(low + high) / 2, high - low], axis=-1)


def iou(a: Array, b: Array) -> Array:
    """Area of the intersection over area of the union, in [0, 1]; 0 for two empty boxes.

    Args:
      a, b: corners [..., 4]; their leading axes are broadcast.

    Returns:
      [...].
    """
    return _overlap(a, b)[1]


def giou(a: Array, b: Array) -> Array:
    """Generalised IoU in [-1, 1] (Rezatofighi et al. 2019, algorithm 1): IoU less the share of the smallest box around both that neither
    fills. That share is 0 where the box around both is empty.

    Args:
      a, b: corners [..., 4]; their leading axes are broadcast.

    Returns:
      [...].
    """
    union, ratio, around = _overlap(a, b)
    return ratio - _ratio(around - union, around)


def pairwise_iou(a: Array, b: Array) -> Array:
    """IoU of every box in a [..., N, 4] with every box in b [..., M, 4]: [..., N, M], corners."""
    return iou(a[..., :, None, :], b[..., None, :, :])


def pairwise_giou(a: Array, b: Array) -> Array:
    """Generalised IoU of every box in a [..., N, 4] with every box in b [..., M, 4]: [..., N, M], corners."""
    return giou(a[..., :, None, :], b[..., None, :, :])


def _overlap(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Area of the union, IoU, and area of the smallest box around both, [...] each."""
    xp = _namespace(a, b)
    a, b = xp.broadcast_arrays(a, b)
    (a_low, a_high), (b_low, b_high) = (a[..., :2], a[..., 2:]), (b[..., :2], b[..., 2:])
    common = _area(xp.maximum(a_low, b_low), xp.minimum(a_high, b_high))
    union = _area(a_low, a_high) + _area(b_low, b_high) - common
    return union, _ratio(common, union), _area(xp.minimum(a_low, b_low), xp.maximum(a_high, b_high))


def _area(low: Array, high: Array) -> Array:
    sides = _namespace(low).maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, and 0 without a gradient where the whole is nothing."""
    xp = _namespace(whole)
    some = whole > _NOTHING
    return xp.where(some, part, 0) / xp.where(some, whole, 1)


def _namespace(*arrays: Array) -> ModuleType:
    return jnp if any(isinstance(x, jax.Array) for x in arrays) else np
