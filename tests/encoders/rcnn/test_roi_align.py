"""RoIAlign against torchvision's, on every level, at borders, and its gradients."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
import torchvision_here

from mmre_jax.encoders.rcnn import roi_align as module
from mmre_jax.encoders.rcnn.roi_align import levels_of, roi_align, roi_mean

STRIDES, CANVAS = (4, 8, 16), (64, 96)
RANDOM = np.random.default_rng(0)
MAPS = [RANDOM.normal(size=(2, CANVAS[0] // s, CANVAS[1] // s, 5)).astype(np.float32) for s in STRIDES]
LOW = RANDOM.random((2, 40, 2)) * [80, 50]
BOXES = np.concatenate([LOW, LOW + RANDOM.random((2, 40, 2)) ** 2 * [90, 60] + 0.01], axis=-1)
BOXES = np.clip(BOXES, 0, [96, 64, 96, 64]).astype(np.float32)
BOXES[0, :3] = [[0, 0, 96, 64], [95.9, 63.9, 96, 64], [0, 0, 0.1, 64]]


def test_values_and_gradients_equal_torchvisions() -> None:
    pooler = torchvision_here.part("ops.poolers")
    import torch

    align = pooler.MultiScaleRoIAlign(["0", "1", "2"], 7, 2, canonical_scale=48)
    maps = {str(i): torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True) for i, x in enumerate(MAPS)}
    expected = align(maps, [torch.tensor(x) for x in BOXES], [CANVAS] * 2).reshape(2, 40, 5, 7, 7)
    expected.cos().sum().backward()

    def total(maps: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        found = roi_align(maps, jnp.asarray(BOXES), STRIDES, 48.0)
        return jnp.cos(found).sum(), found

    gradients, found = jax.jit(jax.grad(total, has_aux=True))(list(map(jnp.asarray, MAPS)))
    assert len(set(np.asarray(levels_of(jnp.asarray(BOXES), STRIDES, 48.0)).ravel())) == 3
    assert np.abs(found - expected.detach().numpy().transpose(0, 1, 3, 4, 2)).max() <= 1e-5
    for ours, theirs in zip(gradients, maps.values(), strict=True):
        assert np.abs(ours - theirs.grad.numpy().transpose(0, 2, 3, 1)).max() <= 1e-4


def test_both_ways_are_one() -> None:
    """Points picked from large maps, products with small ones: values and gradients."""

    def total(maps: list[jax.Array], few: int) -> tuple[jax.Array, jax.Array]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_FEW", few)
            found = roi_align(maps, jnp.asarray(BOXES), STRIDES, 48.0)
        return jnp.cos(found).sum(), found

    (slopes, found), (others, expected) = (
        jax.jit(jax.grad(total, has_aux=True), static_argnums=1)(list(map(jnp.asarray, MAPS)), few) for few in (0, 10**6)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), slopes, others)


def test_by_hand() -> None:
    """On a map that says its own column, a cell's mean is its middle, half a cell before it: pixel 0 is the middle of the first value."""
    column = np.broadcast_to(np.arange(24, dtype=np.float32)[None, None, :, None], (1, 16, 24, 1))
    found = roi_align([jnp.asarray(column)], jnp.array([[[8.0, 8.0, 64.0, 64.0]]]), (4,), 224.0)
    np.testing.assert_allclose(found[0, 0, 3, :, 0], 2 + (np.arange(7) + 0.5) * 2, atol=1e-5)


def test_levels_by_hand() -> None:
    sides = np.array([1.0, 111.9, 112.1, 223.9, 224.1, 447.0, 4480.0], np.float32)
    boxes = jnp.asarray(np.stack([np.zeros(7), np.zeros(7), sides, sides], axis=1), jnp.float32)
    np.testing.assert_array_equal(levels_of(boxes, (4, 8, 16, 32), 224.0), [0, 0, 1, 1, 2, 2, 3])


def test_the_mean_is_the_mean_of_all_cells() -> None:
    """From one map, whatever its stride, and so are its gradients."""
    maps, boxes = jnp.asarray(MAPS[1]), jnp.asarray(BOXES)

    def total(maps: jax.Array, mean: bool) -> tuple[jax.Array, jax.Array]:
        found = roi_mean(maps, boxes, 8.0) if mean else roi_align([maps], boxes, (8,), 224.0).mean(axis=(2, 3))
        return jnp.cos(found).sum(), found

    (slope, found), (other, expected) = (jax.jit(jax.grad(total, has_aux=True), static_argnums=1)(maps, mean) for mean in (True, False))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(slope, other, atol=1e-4)
