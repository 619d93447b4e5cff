"""RoIAlign (He et al. 2017) from the level of a feature pyramid that fits a region's size.

Sampled as torchvision's detectors do: 2 x 2 points a cell, without the half-pixel shift. A region is at least one cell of its map wide and
high; where it so reaches beyond the last cell, that one is read, as torchvision's Python does (its compiled operator reads 0 there).
B pictures, N regions, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

CELLS = 7
_POINTS = 2  # a side of each cell
_FEW = 400  # cells of all levels together, below which products with whole maps are faster than picking points from them
_LEVEL_SLACK = 1e-6  # torchvision's, against rounding at the border between two levels


def levels_of(boxes: jax.Array, strides: Sequence[int], canonical: float) -> jax.Array:
    """int32 [...]: the index of the level that a region is read from (Lin et al. 2017, eq. 1).

    Args:
      boxes: [..., 4], pixels.
      strides: pixels a cell of each level, powers of two, ascending.
      canonical: side of the region that is read at stride 16.
    """
    area = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    lowest, highest = int(np.log2(strides[0])), int(np.log2(strides[-1]))
    level = jnp.floor(4 + jnp.log2(jnp.sqrt(area) / canonical) + _LEVEL_SLACK)
    return jnp.clip(level, lowest, highest).astype(jnp.int32) - lowest


def roi_align(maps: Sequence[jax.Array], boxes: jax.Array, strides: Sequence[int], canonical: float) -> jax.Array:
    """Each region as CELLS x CELLS means of bilinearly read points.

    Args:
      maps: of each level, [B, h, w, C].
      boxes: [B, N, 4], pixels of the picture; where nothing is, any finite box.
      strides: pixels a cell of each level, powers of two, ascending.
      canonical: see `levels_of`.

    Returns:
      [B, N, CELLS, CELLS, C].
    """
    if sum(x.shape[1] * x.shape[2] for x in maps) <= _FEW:
        return _from_small_maps(maps, boxes, strides, canonical)
    flat = jnp.concatenate([x.reshape(x.shape[0], -1, x.shape[-1]) for x in maps], axis=1)
    sides = np.array([x.shape[1:3] for x in maps], np.int32)
    starts = np.concatenate([[0], np.cumsum(sides.prod(axis=1))[:-1]]).astype(np.int32)
    scale = jnp.asarray(1.0 / np.asarray(strides), jnp.float32)

    def of_region(box: jax.Array, at: jax.Array) -> tuple[jax.Array, ...]:
        height, width = jnp.asarray(sides)[at]
        rows, of_rows = _taps(box[1] * scale[at], box[3] * scale[at], height)
        columns, of_columns = _taps(box[0] * scale[at], box[2] * scale[at], width)
        return (jnp.asarray(starts)[at] + rows * width).reshape(CELLS, -1), of_rows, columns.reshape(CELLS, -1), of_columns

    # Computed once, and not again for every channel that is read by them.
    taps = jax.lax.optimization_barrier(jax.vmap(jax.vmap(of_region))(boxes, levels_of(boxes, strides, canonical)))
    return jax.vmap(_from_places)(flat, *taps)


def _from_places(values: jax.Array, rows: jax.Array, of_rows: jax.Array, columns: jax.Array, of_columns: jax.Array) -> jax.Array:
    """The regions of a picture, [N, CELLS, CELLS, C], one tap of each cell after the other: summed in one pass, with nothing
    in between as large as all that is read.

    Args:
      values: [places, C].
      rows, columns: int32 [N, CELLS, taps]; their sums are places.
      of_rows, of_columns: float32 of the same shapes, weights.
    """
    found = jnp.zeros((len(rows), CELLS, CELLS, values.shape[-1]), jnp.float32)
    for a in range(rows.shape[-1]):
        for b in range(columns.shape[-1]):
            read = values.at[rows[:, :, None, a] + columns[:, None, :, b]].get(mode="promise_in_bounds")
            found += (of_rows[:, :, None, a] * of_columns[:, None, :, b])[..., None] * read.astype(jnp.float32)
    return found.astype(values.dtype)


def _from_small_maps(maps: Sequence[jax.Array], boxes: jax.Array, strides: Sequence[int], canonical: float) -> jax.Array:
    """`roi_align` as products of every map with what each of its rows and columns has in a cell: no place is picked, or added to."""
    level = levels_of(boxes, strides, canonical)
    found = 0.0
    for at, (x, stride) in enumerate(zip(maps, strides, strict=True)):
        ends = boxes.astype(jnp.float32) / stride
        rows, columns = (_matrix(ends[..., axis], ends[..., axis + 2], x.shape[2 - axis]) for axis in (1, 0))
        rows = jnp.where((level == at)[..., None, None], rows, 0.0)
        found += jnp.einsum("bnih,bhwc,bnjw->bnijc", rows, x.astype(jnp.float32), columns)
    return jnp.asarray(found).astype(maps[0].dtype)


def _matrix(low: jax.Array, high: jax.Array, side: int) -> jax.Array:
    """What each place along an axis of `side` places has in the mean of each cell of regions [...]: [..., CELLS, side]."""

    def of_region(low: jax.Array, high: jax.Array) -> jax.Array:
        places, weights = _taps(low, high, jnp.asarray(side))
        hits = places.reshape(CELLS, -1, 1) == jnp.arange(side)[None, None, :]
        return jnp.where(hits, weights[..., None], 0.0).sum(axis=1)

    return jnp.vectorize(of_region, signature="(),()->(c,s)")(low, high)


def roi_mean(x: jax.Array, boxes: jax.Array, stride: float) -> jax.Array:
    """The mean of a region's RoIAlign over its cells, from one map: `roi_align` and `mean`, without the cells between.

    Args:
      x: [B, h, w, C].
      boxes: [B, N, 4], pixels of the picture; where nothing is, any finite box.
      stride: pixels a cell of the map.

    Returns:
      [B, N, C].
    """
    height, width = x.shape[1:3]
    ends = boxes.astype(jnp.float32) / stride
    rows = _matrix(ends[..., 1], ends[..., 3], height).mean(axis=-2).astype(x.dtype)
    columns = _matrix(ends[..., 0], ends[..., 2], width).mean(axis=-2).astype(x.dtype)
    return jnp.einsum("bhwc,bnh,bnw->bnc", x, rows, columns)


def _taps(low: jax.Array, high: jax.Array, side: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Along one axis, the values that the points of each cell lie between, and their weights in the cell's mean.

    Args:
      low, high: ends of the region, in cells of the map.
      side: of the map.

    Returns:
      int32 [CELLS * 2 * _POINTS] places, and float32 [CELLS, 2 * _POINTS] weights.
    """
    step = jnp.maximum(high - low, 1.0) / CELLS
    inside = (jnp.arange(_POINTS, dtype=jnp.float32) + 0.5) / _POINTS
    points = jnp.maximum(low + (jnp.arange(CELLS, dtype=jnp.float32)[:, None] + inside[None, :]) * step, 0.0)
    before = jnp.minimum(points.astype(jnp.int32), side - 1)
    after = jnp.minimum(before + 1, side - 1)
    share = jnp.where(before >= side - 1, 0.0, points - before.astype(jnp.float32))
    weights = jnp.stack([1.0 - share, share], axis=-1) / _POINTS
    return jnp.stack([before, after], axis=-1).reshape(-1), weights.reshape(CELLS, -1)
