"""Boxes against areas counted cell by cell, against torchvision, and by their properties; gradients finite where areas vanish."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

sys.path.append(str(Path(__file__).parent))
import torchvision_here

from mmre_jax import boxes

SIDE = 7
NAMES = ("iou", "giou")


def corners_of(pairs: np.ndarray) -> np.ndarray:
    """[..., 2 points, 2] -> [..., 4], the points sorted."""
    return np.sort(pairs, axis=-2).reshape(*pairs.shape[:-2], 4)


def some(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return corners_of(rng.random((*shape, 2, 2)))


# On a grid, empty boxes among them.
GRID = arrays(np.int64, (6, 2, 2), elements=st.integers(0, SIDE)).map(corners_of)
REAL = arrays(np.float64, (6, 2, 2), elements=st.integers(0, 1000).map(lambda x: x / 1000)).map(corners_of)
CENTRES = arrays(np.float32, (6, 4), elements=st.floats(0, 1, width=32))


def cells(box: np.ndarray) -> np.ndarray:
    """The cells of a grid that a box covers."""
    x, y = np.arange(SIDE)[None], np.arange(SIDE)[:, None]
    return (box[0] <= x) & (x < box[2]) & (box[1] <= y) & (y < box[3])


def by_counting(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    common, union = (cells(a) & cells(b)).sum(), (cells(a) | cells(b)).sum()
    around = cells(np.array([*np.minimum(a, b)[:2], *np.maximum(a, b)[2:]])).sum()
    ratio = common / union if union else 0.0
    return {"iou": ratio, "giou": ratio - ((around - union) / around if around else 0.0)}


@given(GRID, GRID)
def test_the_same_as_counting_cells(a: np.ndarray, b: np.ndarray) -> None:
    expected = [[by_counting(x, y) for y in b] for x in a]
    for name in NAMES:
        table = np.array([[cell[name] for cell in row] for row in expected])
        np.testing.assert_allclose(getattr(boxes, f"pairwise_{name}")(a.astype(np.float64), b.astype(np.float64)), table, atol=1e-12)
        np.testing.assert_allclose(getattr(boxes, name)(a.astype(np.float64), b.astype(np.float64)), np.diag(table), atol=1e-12)
        found = getattr(boxes, f"pairwise_{name}")(a.astype(jnp.float32), jnp.asarray(b, jnp.float32))
        np.testing.assert_allclose(found, table, atol=1e-6)


def test_by_hand() -> None:
    a, b = np.array([0.0, 0.0, 1.0, 1.0]), np.array([2.0, 0.0, 3.0, 1.0])
    assert boxes.iou(a, b) == 0 and boxes.giou(a, b) == pytest.approx(-1 / 3)  # a third of the box around both lies between them
    assert boxes.iou(a, a) == boxes.giou(a, a) == 1
    half = np.array([0.0, 0.0, 0.5, 1.0])
    assert boxes.iou(a, half) == boxes.giou(a, half) == 0.5
    point, other = np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.25, 0.25, 0.25, 0.25])
    assert boxes.iou(point, point) == boxes.giou(point, point) == 0
    assert boxes.iou(point, other) == 0 and boxes.giou(point, other) == -1
    assert boxes.iou(a, np.array([0.75, 0.75, 0.25, 0.25])) == 0, "turned inside out: empty"
    np.testing.assert_array_equal(boxes.to_corners(np.array([0.5, 0.25, 0.5, 0.25])), [0.25, 0.125, 0.75, 0.375])
    np.testing.assert_array_equal(boxes.to_centres(np.array([0.25, 0.125, 0.75, 0.375])), [0.5, 0.25, 0.5, 0.25])


@given(CENTRES)
def test_conversions_undo_each_other(centres: np.ndarray) -> None:
    corners = boxes.to_corners(centres)
    assert (corners[:, :2] <= corners[:, 2:]).all()
    np.testing.assert_allclose(boxes.to_centres(corners), centres, atol=1e-6)
    np.testing.assert_allclose(boxes.to_corners(boxes.to_centres(corners)), corners, atol=1e-6)
    # XLA takes what is smaller than the smallest normal number for 0, NumPy does not.
    np.testing.assert_allclose(boxes.to_corners(jnp.asarray(centres)), corners, rtol=0, atol=np.finfo(np.float32).tiny)


@given(REAL, REAL, st.floats(-5, 5), st.floats(0.5, 100))
def test_bounds_symmetry_and_invariance(a: np.ndarray, b: np.ndarray, shift: float, scale: float) -> None:
    ratio, generalised = boxes.iou(a, b), boxes.giou(a, b)
    assert (ratio >= 0).all() and (ratio <= 1).all()
    assert (generalised >= -1).all() and (generalised <= ratio + 1e-12).all()
    for name, found in (("iou", ratio), ("giou", generalised)):
        function = getattr(boxes, name)
        np.testing.assert_array_equal(function(b, a), found)
        np.testing.assert_allclose(function(a * scale, b * scale), found, atol=1e-9)
        np.testing.assert_allclose(function(a + shift, b + shift), found, atol=1e-6)
        full = ((a[:, 2:] - a[:, :2]) > 0).all(axis=-1)
        np.testing.assert_allclose(function(a, a), full.astype(float))


def test_leading_axes_broadcast() -> None:
    rng = np.random.default_rng(0)
    a, b = some(rng, 2, 3, 4), some(rng, 2, 3, 5)
    for name in NAMES:
        function, pairwise = getattr(boxes, name), getattr(boxes, f"pairwise_{name}")
        table = pairwise(a, b)
        assert table.shape == (2, 3, 4, 5)
        np.testing.assert_array_equal(table[1, 2, 3], function(a[1, 2, 3], b[1, 2]))
        np.testing.assert_allclose(function(jnp.asarray(a[1, 2, 3]), jnp.asarray(b[1, 2])), table[1, 2, 3], atol=1e-6)
        assert pairwise(a[:, :, :0], b).shape == (2, 3, 0, 5)


def test_numpy_stays_numpy_and_jax_stays_jax() -> None:
    for dtype in (np.float32, np.float64):
        a = some(np.random.default_rng(0), 3).astype(dtype)
        for name in ("to_corners", "to_centres"):
            assert type(getattr(boxes, name)(a)) is np.ndarray and getattr(boxes, name)(a).dtype == dtype
        for name in ("iou", "giou", "pairwise_iou", "pairwise_giou"):
            assert type(getattr(boxes, name)(a, a)) is np.ndarray and getattr(boxes, name)(a, a).dtype == dtype
    a = a.astype(np.float32)
    for name in ("iou", "giou", "pairwise_iou", "pairwise_giou"):
        function = getattr(boxes, name)
        found = function(a, jnp.asarray(a))
        assert isinstance(found, jax.Array) and found.dtype == jnp.float32
        np.testing.assert_allclose(jax.jit(function)(a, a), function(a, a), rtol=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    a, b, step = boxes.to_centres(some(rng, 8)), some(rng, 8), 1e-6
    for name in NAMES:
        function = getattr(boxes, name)
        found = jax.grad(lambda x, f=function: f(boxes.to_corners(x), jnp.asarray(b, jnp.float32)).sum())(jnp.asarray(a, jnp.float32))
        for i in range(4):
            moved = np.eye(4)[i] * step
            slope = (function(boxes.to_corners(a + moved), b) - function(boxes.to_corners(a - moved), b)) / (2 * step)
            np.testing.assert_allclose(found[:, i], slope, rtol=1e-3, atol=1e-3)


SIZES = st.sampled_from([0.0, 1e-45, 1e-38, 1e-30, 1e-19, 1e-12, 1e-9, 1e-6, 0.1, 1.0, 1e6])


def value_and_gradients(name: str) -> Callable[..., Any]:
    def of_centres(a: jax.Array, b: jax.Array) -> jax.Array:
        return getattr(boxes, name)(boxes.to_corners(a), boxes.to_corners(b))

    return jax.jit(jax.vmap(jax.value_and_grad(of_centres, (0, 1))))


VALUE_AND_GRADIENTS = tuple(value_and_gradients(name) for name in NAMES)


@given(arrays(np.float32, (2, 16, 4), elements=SIZES.map(np.float32)))
def test_empty_and_tiny_boxes_have_finite_values_and_gradients(centres: np.ndarray) -> None:
    for function in VALUE_AND_GRADIENTS:
        for found in jax.tree.leaves(function(*centres)):
            assert np.isfinite(found).all()
        value, _ = function(*centres)
        assert (np.abs(value) <= 1 + 1e-5).all()


def test_an_empty_prediction_is_drawn_towards_its_target() -> None:
    """Generalised IoU has a gradient where IoU has none."""
    point, target = jnp.array([0.1, 0.1, 0.0, 0.0]), jnp.array([0.5, 0.5, 0.9, 0.9])
    gradient = jax.grad(lambda x: boxes.giou(boxes.to_corners(x), target))(point)
    assert (gradient[:2] > 0).all()


def test_torchvision_agrees() -> None:
    torch = pytest.importorskip("torch")
    ops = torchvision_here.load().ops
    rng = np.random.default_rng(0)
    ours = [some(rng, 5).astype(np.float32), some(rng, 9).astype(np.float32)]
    for name, theirs in (("pairwise_iou", ops.box_iou), ("pairwise_giou", ops.generalized_box_iou)):
        function = getattr(boxes, name)
        tensors = [torch.tensor(x, requires_grad=True) for x in ours]
        expected = theirs(*tensors)
        np.testing.assert_allclose(function(*ours), expected.detach(), atol=1e-6)
        (expected**2).sum().backward()
        gradients = jax.grad(lambda a, b, f=function: (f(a, b) ** 2).sum(), (0, 1))(*map(jnp.asarray, ours))
        for found, tensor in zip(gradients, tensors, strict=True):
            np.testing.assert_allclose(found, tensor.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(boxes.to_corners(ours[0]), ops.box_convert(torch.tensor(ours[0]), "cxcywh", "xyxy"), atol=1e-6)
    np.testing.assert_allclose(boxes.to_centres(ours[0]), ops.box_convert(torch.tensor(ours[0]), "xyxy", "cxcywh"), atol=1e-6)
