"""Regions of a picture: anchors, boxes as offsets from other boxes, and non-maximum suppression with static shapes.

Boxes are corners (x_min, y_min, x_max, y_max) in pixels, float32. A anchors, N boxes, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmre_jax import boxes as boxes_lib

_LARGEST = math.log(1000.0 / 16)  # of what width and height may be multiplied by: torchvision's bound, against overflow
Weights = tuple[float, float, float, float]


def cell_anchors(side: float, ratios: Sequence[float]) -> np.ndarray:
    """Anchors around (0, 0) with the area of a square of that side and these ratios of height to width, whole numbers, [ratios, 4]."""
    heights = side * np.sqrt(np.asarray(ratios, np.float32))
    half = np.stack([side / np.sqrt(np.asarray(ratios, np.float32)), heights], axis=1) / 2
    return np.round(np.concatenate([-half, half], axis=1)).astype(np.float32)


def grid_anchors(canvas: tuple[int, int], grid: tuple[int, int], side: float, ratios: Sequence[float]) -> np.ndarray:
    """The anchors of a map: at each of its cells, row by row, those of every ratio, [rows * columns * ratios, 4].

    Args:
      canvas: height and width of the picture, in pixels.
      grid: rows and columns of the map; cells are canvas // grid pixels apart, the first one at (0, 0).
    """
    steps = [np.arange(cells) * (pixels // cells) for pixels, cells in zip(canvas, grid, strict=True)]
    y, x = np.meshgrid(*steps, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).astype(np.float32)
    return (shifts[:, :, None] + cell_anchors(side, ratios)).reshape(-1, 4)


def decode(offsets: jax.Array, boxes: jax.Array, weights: Weights) -> jax.Array:
    """Boxes that lie by (dx, dy, dw, dh) from others: centre moved by d / weight of the side, sides times exp(d / weight).

    Args:
      offsets: [..., 4].
      boxes: [..., 4], what they are offsets from; of as many axes, which are broadcast.

    Returns:
      [..., 4].
    """
    centre, side = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    scaled = offsets / _along(weights, offsets)
    centre = centre + scaled[..., :2] * side
    half = jnp.exp(jnp.minimum(scaled[..., 2:], _LARGEST)) * side / 2
    return jnp.concatenate([centre - half, centre + half], axis=-1)


def encode(targets: jax.Array, boxes: jax.Array, weights: Weights) -> jax.Array:
    """The offsets [..., 4] by which targets [..., 4] lie from boxes [..., 4] of positive sides: what `decode` undoes."""
    centre, side = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    aim, wanted = (targets[..., :2] + targets[..., 2:]) / 2, targets[..., 2:] - targets[..., :2]
    return jnp.concatenate([(aim - centre) / side, jnp.log(wanted / side)], axis=-1) * _along(weights, targets)


def clip(boxes: jax.Array, size: jax.Array) -> jax.Array:
    """Boxes [..., 4] cut at a picture's edges; size [2] is its height and width."""
    height, width = size[0], size[1]
    return jnp.clip(boxes, 0.0, _along(jnp.stack([width, height, width, height]), boxes))


def at_least(boxes: jax.Array, side: float) -> jax.Array:
    """bool [...]: which boxes [..., 4] are that wide and that high."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= side).all(axis=-1)


def nms(boxes: jax.Array, valid: jax.Array, threshold: float) -> jax.Array:
    """Greedy non-maximum suppression of boxes in falling order of score: a box goes where it overlaps an earlier one that stays.

    What stays is the one solution of keep[i] = valid[i] and no j < i with keep[j] and IoU(i, j) > threshold. It is found by applying that
    to all boxes at once until nothing changes: as many rounds as the longest chain of boxes of which each decides over the next.

    Args:
      boxes: [N, 4], best first.
      valid: bool [N]; what is not is dropped, and drops nothing.
      threshold: IoU above which the later box is dropped.

    Returns:
      bool [N].
    """
    count = boxes.shape[0]
    overlaps = boxes_lib.pairwise_iou(boxes, boxes) > threshold
    over = overlaps & (jnp.arange(count)[None, :] < jnp.arange(count)[:, None])  # [later, earlier]

    def changed(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.any(state[0] != state[1])

    def again(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return state[1], valid & ~(over & state[1][None, :]).any(axis=1)

    first = valid & ~(over & valid[None, :]).any(axis=1)
    return jax.lax.while_loop(changed, again, (valid, first))[1]


def best_by_class(boxes: jax.Array, scores: jax.Array, threshold: float, most: int) -> tuple[jax.Array, jax.Array]:
    """The `most` best boxes over all classes after greedy non-maximum suppression within each class.

    Exact for any number of candidates: each of `most` rounds takes the best that is left and drops what it suppresses.

    Args:
      boxes: [N, C, 4].
      scores: [N, C]; candidates have one above 0.
      threshold: IoU above which a box of the same class is suppressed.

    Returns:
      int32 [most], n * C + c of each, best first; and its score [most], 0 where nothing was left.
    """
    classes = scores.shape[1]

    def take(left: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        place = jnp.argmax(left)
        n, c = place // classes, place % classes
        rivals = jnp.take(boxes, c, axis=1)
        gone = boxes_lib.iou(rivals, rivals[n][None]) > threshold
        gone = gone.at[n].set(True)  # an empty box does not overlap itself
        score = jnp.maximum(left.reshape(-1)[place], 0.0)
        column = jnp.where(gone, -1.0, jnp.take(left, c, axis=1))
        return left.at[:, c].set(column), (place.astype(jnp.int32), score)

    return jax.lax.scan(take, scores, None, length=most)[1]


def _along(values: jax.Array | Weights, like: jax.Array) -> jax.Array:
    """Four values along the last axis of `like` [..., 4]."""
    return jnp.asarray(values, like.dtype).reshape((1,) * (like.ndim - 1) + (4,))
