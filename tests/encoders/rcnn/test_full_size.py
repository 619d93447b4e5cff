"""Faster R-CNN at its full size against torchvision's, on photos: pyramid, proposals, detections, with weights like trained ones.

Two programs that round differently decide differently where a score or an overlap lies on a threshold: such boxes are excepted, and their
number is printed.
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import reference

from mmre_jax import boxes as boxes_lib
from mmre_jax.encoders.rcnn.canvas import Canvases
from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn, Proposals, RcnnConfig, detect, normalise, propose
from mmre_jax.weights.rcnn import describe_rcnn, rcnn_rules, rcnn_unread
from mmre_jax.weights.rules import read

PHOTOS = sorted(Path(os.environ.get("MMRE_DATA", Path(__file__).parents[4] / "shared" / "data"), "RE_data", "img_org").rglob("*.jpg"))
CANVASES, COUNT, NEAR = Canvases(), 4, 1e-5

pytestmark = [pytest.mark.slow, pytest.mark.real]


def pictures() -> list[tuple[np.ndarray, np.ndarray]]:
    """Photos on their canvases, drawn ones where there are none."""
    if PHOTOS:
        return [CANVASES.place(Image.open(path)) for path in PHOTOS[:COUNT]]
    sides = [(480, 640), (640, 480), (500, 500), (300, 900)][:COUNT]
    return [CANVASES.place(Image.fromarray(reference.drawn(1, side, seed)[0])) for seed, side in enumerate(sides)]


def near(value: Any, threshold: float) -> Any:
    return np.abs(np.asarray(value, np.float64) - threshold) <= NEAR


def on_a_threshold(box: np.ndarray, score: float, others: np.ndarray, overlap: float, lowest: float) -> bool:
    """Whether a box is there or not by rounding alone: by its score, or by its overlap with another box."""
    overlaps = boxes_lib.pairwise_iou(box[None].astype(np.float64), others.astype(np.float64))
    return bool(near(score, lowest).any() or near(overlaps, overlap).any())


@pytest.mark.parametrize("trained", [False, True], ids=["random", "like trained ones"])
@pytest.mark.parametrize("version", [1, 2])
def test_photos_give_torchvisions_boxes(version: int, trained: bool) -> None:
    images = reference.part("models.detection.image_list")
    import torch

    placed = pictures()
    inputs = [np.asarray(normalise(jnp.asarray(x[None]), jnp.asarray(s[None]))).transpose(0, 3, 1, 2) for x, s in placed]
    model = reference.detector(version, (3, 4, 6, 3), 91).eval()
    if trained:
        model = reference.calibrate(model, [x[:, :, ::2, ::2] for x in inputs], sure=1.3 if version == 1 else 0.7)
    model = reference.freeze(model, 1e-5 if version == 2 else 0.0)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config = describe_rcnn(tensors)
    assert config == RcnnConfig(
        config.backbone, proposal_convolutions=version, head_convolutions=4 * (version - 1), pyramid_norm=version == 2
    )
    net = FasterRcnn(config)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), placed[0][0][None], placed[0][1][None]))
    variables = read(rcnn_rules(config), tensors, shapes, unread=rcnn_unread(config))
    ours = jax.jit(lambda v, x, s: stages(net, config, v, x, s))
    again = jax.jit(lambda v, x, s, b, t: by_proposals(net, config, v, x, s, b, t))
    excepted = between = 0
    for (pixels, size), x in zip(placed, inputs, strict=True):
        listed = images.ImageList(torch.tensor(x), [tuple(map(int, size))])
        with torch.no_grad():
            maps = model.backbone(listed.tensors)
            theirs, scores = model.rpn(listed, maps)
            found, _ = model.roi_heads(maps, theirs, listed.image_sizes)
        levels, proposals = ours(variables, pixels[None], size[None])
        for level, other in zip(levels, maps.values(), strict=True):
            expected = other.numpy().transpose(0, 2, 3, 1)
            assert np.abs(level - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
        side = float(max(size))
        excepted += unlike(np.asarray(proposals.boxes[0])[np.asarray(proposals.valid[0])], theirs[0].numpy(), side)
        count = len(theirs[0])
        boxes = np.zeros((1, config.after_nms, 4), np.float32)
        boxes[0, :count] = theirs[0].numpy()
        detections = again(variables, pixels[None], size[None], boxes, np.arange(config.after_nms)[None] < count)
        valid = np.asarray(detections.valid[0])
        mine = [np.asarray(part[0])[valid] for part in (detections.boxes, detections.scores, detections.labels)]
        other = [found[0][name].numpy() for name in ("boxes", "scores", "labels")]
        excepted += compare(mine, other, side, config)
        between += int(((other[1] > 0.05) & (other[1] < 0.95)).sum())
        assert not trained or ((other[1] > 0.05) & (other[1] < 0.95)).sum() >= 20
    print(f"version {version}, {'like trained' if trained else 'random'}: {between} boxes between 0.05 and 0.95, {excepted} excepted")


def stages(net: FasterRcnn, config: RcnnConfig, variables: Any, pixels: Any, size: Any) -> Any:
    maps = net.apply(variables, pixels, size, train=False, method=FasterRcnn.maps)
    logits, offsets = net.apply(variables, maps, method=lambda self, x: self.proposer(x, train=False))
    return maps, propose(config, pixels.shape[1:3], logits, offsets, size)


def by_proposals(net: FasterRcnn, config: RcnnConfig, variables: Any, pixels: Any, size: Any, boxes: Any, valid: Any) -> Any:
    maps = net.apply(variables, pixels, size, train=False, method=FasterRcnn.maps)
    _, scores, moves = net.apply(variables, maps, boxes, train=False, method=FasterRcnn.regions)
    return detect(config, Proposals(boxes, valid), scores, moves, size)


def unlike(ours: np.ndarray, theirs: np.ndarray, side: float) -> int:
    """How many proposals one side alone has: by rounding at a threshold, which also lets in or keeps out others behind it."""
    apart = np.abs(ours[:, None] - theirs[None]).max(axis=-1)
    alone = int((apart.min(axis=1) > 1e-3 * side).sum()), int((apart.min(axis=0) > 1e-3 * side).sum())
    assert max(alone) <= 0.01 * len(theirs), f"{alone} of {len(ours)} and {len(theirs)} proposals have no counterpart"
    return max(alone)


def compare(ours: list[np.ndarray], theirs: list[np.ndarray], side: float, config: RcnnConfig) -> int:
    """How many detections one side alone has, each of them on a threshold; all others agree in box, score and label."""
    same = ours[2][:, None] == theirs[2][None]
    close = same & (np.abs(ours[0][:, None] - theirs[0][None]).max(axis=-1) <= 1e-3 * side)
    close &= np.abs(ours[1][:, None] - theirs[1][None]) <= 1e-3
    last = [found[1].min(initial=1.0) if len(found[1]) == config.detections else config.score for found in (ours, theirs)]
    count = 0
    for mine, other, lone, lowest in ((ours, theirs, ~close.any(axis=1), last[1]), (theirs, ours, ~close.any(axis=0), last[0])):
        for n in np.flatnonzero(lone):
            rivals = np.concatenate([part[0][part[2] == mine[2][n]] for part in (mine, other)])
            assert on_a_threshold(mine[0][n], mine[1][n], rivals, config.nms, lowest), (mine[0][n], mine[1][n], mine[2][n])
            count += 1
    return count


def test_a_mask_head_is_passed_over_by_name() -> None:
    model = reference.part("models.detection.mask_rcnn").maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config = dataclasses.replace(describe_rcnn(tensors), after_nms=10)
    shapes = jax.eval_shape(lambda: FasterRcnn(config).init(jax.random.key(0), np.zeros((1, 64, 64, 3), np.uint8), np.array([[64, 64]])))
    filled = read(rcnn_rules(config), tensors, shapes, unread=rcnn_unread(config))
    assert sum(x.size for x in jax.tree.leaves(filled)) < sum(x.size for x in tensors.values())
