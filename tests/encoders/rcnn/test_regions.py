"""Anchors and offsets by hand and by torchvision, suppression against a loop."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2]))
import torchvision_here

from mmre_jax import boxes as boxes_lib
from mmre_jax.encoders.rcnn import regions

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def some(count: int, seed: int = 0, spread: float = 50.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    low = random.random((count, 2)) * spread
    return np.concatenate([low, low + 1 + random.random((count, 2)) * 20], axis=1).astype(np.float32)


def by_loop(boxes: np.ndarray, valid: np.ndarray, threshold: float) -> np.ndarray:
    keep = np.zeros(len(boxes), bool)
    overlap = boxes_lib.pairwise_iou(boxes, boxes)
    for i in range(len(boxes)):
        keep[i] = valid[i] and not any(keep[j] and overlap[i, j] > threshold for j in range(i))
    return keep


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.7]), st.sampled_from([5.0, 50.0]))
def test_suppression_is_the_loops(seed: int, threshold: float, spread: float) -> None:
    boxes, valid = some(40, seed, spread), np.random.default_rng(seed).random(40) < 0.8
    np.testing.assert_array_equal(NMS(boxes, valid, threshold), by_loop(boxes, valid, threshold))


NMS = jax.jit(regions.nms, static_argnums=2)


def test_a_long_chain_is_followed_to_its_end() -> None:
    """Each box overlaps the next alone: every second one stays, however far down."""
    left = np.arange(200, dtype=np.float32) * 6
    boxes = np.stack([left, np.zeros(200), left + 10, np.ones(200)], axis=1).astype(np.float32)
    np.testing.assert_array_equal(NMS(boxes, np.ones(200, bool), 0.2), np.arange(200) % 2 == 0)


@given(st.integers(0, 10_000))
def test_the_best_of_all_classes_are_the_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes = np.stack([some(15, seed + c, 20.0) for c in range(3)], axis=1)
    scores = np.where(random.random((15, 3)) < 0.7, random.random((15, 3)), 0.0).astype(np.float32)
    places, found = BEST(boxes, scores, 0.4, 12)
    kept = []
    for c in range(3):
        order = np.argsort(-scores[:, c])
        keep = by_loop(boxes[order, c], scores[order, c] > 0, 0.4)
        kept += [(float(scores[n, c]), int(n * 3 + c)) for n in order[keep]]
    expected = sorted(kept, reverse=True)[:12]
    assert [(float(s), int(p)) for s, p in zip(found, places, strict=True) if s > 0] == expected


BEST = jax.jit(regions.best_by_class, static_argnums=(2, 3))


@given(st.integers(0, 10_000))
def test_offsets_undo_each_other(seed: int) -> None:
    boxes, targets = some(8, seed), some(8, seed + 1)
    found = regions.decode(regions.encode(jnp.asarray(targets), jnp.asarray(boxes), WEIGHTS), jnp.asarray(boxes), WEIGHTS)
    np.testing.assert_allclose(found, targets, atol=1e-3)


def test_by_hand() -> None:
    box = jnp.array([0.0, 0.0, 10.0, 20.0])
    moved = regions.decode(jnp.array([10.0, -5.0, 0.0, 5 * np.log(2)], jnp.float32), box, WEIGHTS)
    np.testing.assert_allclose(moved, [10, -20, 20, 20], atol=1e-5)  # a width right, half a height up, twice as high
    huge = regions.decode(jnp.array([0.0, 0, 1e9, 0]), box, WEIGHTS)
    np.testing.assert_allclose(huge[2] - huge[0], 10 * 62.5, rtol=1e-5)
    np.testing.assert_array_equal(regions.clip(jnp.array([[-1.0, -1, 30, 30]]), jnp.array([20, 10])), [[0, 0, 10, 20]])
    np.testing.assert_array_equal(regions.at_least(jnp.array([[0.0, 0, 1, 2], [0, 0, 2, 0.5]]), 1.0), [True, False])
    np.testing.assert_array_equal(regions.cell_anchors(32, (0.5, 1.0, 2.0)), [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]])
    anchors = regions.grid_anchors((64, 96), (2, 3), 16, (1.0,))
    np.testing.assert_array_equal(anchors[[0, 1, 3]], [[-8, -8, 8, 8], [24, -8, 40, 8], [-8, 24, 8, 40]])


def test_torchvision_agrees() -> None:
    detection = torchvision_here.part("models.detection")
    import torch

    generator = detection.anchor_utils.AnchorGenerator(((32,), (64,)), ((0.5, 1.0, 2.0),) * 2)
    grids, canvas = ((8, 12), (5, 7)), (64, 96)
    pictures = detection.image_list.ImageList(torch.zeros(1, 3, *canvas), [canvas])
    theirs = generator(pictures, [torch.zeros(1, 4, *grid) for grid in grids])[0]
    ours = np.concatenate([regions.grid_anchors(canvas, grid, side, (0.5, 1.0, 2.0)) for grid, side in zip(grids, (32, 64), strict=True)])
    np.testing.assert_array_equal(ours, theirs)
    coder = detection._utils.BoxCoder(WEIGHTS)
    boxes, targets = some(9), some(9, 1)
    offsets = coder.encode_single(torch.tensor(targets), torch.tensor(boxes))
    np.testing.assert_allclose(regions.encode(jnp.asarray(targets), jnp.asarray(boxes), WEIGHTS), offsets, rtol=1e-4, atol=1e-4)
    back = coder.decode_single(offsets * 3, torch.tensor(boxes))
    np.testing.assert_allclose(regions.decode(jnp.asarray(offsets) * 3, jnp.asarray(boxes), WEIGHTS), back, rtol=1e-4, atol=1e-4)
