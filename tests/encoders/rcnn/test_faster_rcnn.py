"""Faster R-CNN against torchvision's, version 1, version 2 and Mask R-CNN: pyramid, proposals, detections, the losses' gradients."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import reference

from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn, RcnnConfig, normalise, propose
from mmre_jax.encoders.rcnn.targets import Annotated, Sampling, head_losses, proposal_losses, sample
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.weights.rcnn import describe_rcnn, rcnn_rules, rcnn_unread
from mmre_jax.weights.rules import read, write

pytestmark = pytest.mark.thorough

CANVAS, SIZES = (64, 96), np.array([[64, 96], [60, 80]])
PIXELS = reference.drawn(2, CANVAS)
COUNTS = {"before_nms": 120, "after_nms": 80, "detections": 40}
THEIRS = {"rpn_pre_nms_top_n_test": 120, "rpn_post_nms_top_n_test": 80, "box_detections_per_img": 40}
THEIRS |= {"rpn_pre_nms_top_n_train": 120, "rpn_post_nms_top_n_train": 80}
EVERYTHING = 100_000  # more samples than there are: nothing is left to chance
THEIRS |= {"rpn_batch_size_per_image": EVERYTHING, "box_batch_size_per_image": EVERYTHING}
GOLD = np.array([[[10, 10, 60, 50], [40, 20, 90, 60], [0, 0, 1, 1]], [[5, 20, 70, 55], [0, 0, 1, 1], [0, 0, 1, 1]]], np.float32)
LABELS, THERE = np.array([[1, 3, 0], [2, 0, 0]]), np.array([[1, 1, 0], [1, 0, 0]], bool)


@dataclasses.dataclass
class Pair:
    """The same weights in both frameworks, and torchvision's answers."""

    model: Any
    config: RcnnConfig
    variables: Any
    pictures: Any
    maps: Any
    proposals: Any
    detections: Any

    @property
    def net(self) -> FasterRcnn:
        return FasterRcnn(self.config)


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)], ids="version {}".format)
def pair(request: pytest.FixtureRequest) -> Pair:
    images = reference.part("models.detection.image_list")
    import torch

    x = np.asarray(normalise(jnp.asarray(PIXELS), jnp.asarray(SIZES))).transpose(0, 3, 1, 2)
    version = request.param
    model = reference.detector(version, (1, 1, 1, 1), 5, **THEIRS)
    model = reference.freeze(reference.calibrate(model, [x[:1], x[1:]]), 1e-5 if version == 2 else 0.0)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config = dataclasses.replace(describe_rcnn(tensors), **COUNTS)
    shapes = jax.eval_shape(lambda: FasterRcnn(config).init(jax.random.key(0), PIXELS, SIZES))
    variables = read(rcnn_rules(config), tensors, shapes, unread=rcnn_unread(config))
    pictures = images.ImageList(torch.tensor(x), [tuple(map(int, size)) for size in SIZES])
    with torch.no_grad():
        maps = model.backbone(pictures.tensors)
        proposals, _ = model.rpn(pictures, maps)
        detections, _ = model.roi_heads(maps, proposals, pictures.image_sizes)
    return Pair(model, config, variables, pictures, maps, proposals, detections)


def found_proposals(pair: Pair, variables: Any) -> Any:
    maps = pair.net.apply(variables, jnp.asarray(PIXELS), jnp.asarray(SIZES), train=False, method=FasterRcnn.maps)
    logits, offsets = pair.net.apply(variables, maps, method=lambda net, x: net.proposer(x, train=False))
    return maps, propose(pair.config, CANVAS, logits, offsets, jnp.asarray(SIZES))


def test_pyramid_and_proposals_equal_torchvisions(pair: Pair) -> None:
    maps, proposals = jax.jit(lambda v: found_proposals(pair, v))(pair.variables)
    for ours, theirs in zip(maps, pair.maps.values(), strict=True):
        expected = theirs.numpy().transpose(0, 2, 3, 1)
        assert np.abs(ours - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    for boxes, valid, theirs in zip(proposals.boxes, proposals.valid, pair.proposals, strict=True):
        np.testing.assert_allclose(np.asarray(boxes)[np.asarray(valid)], theirs.numpy(), atol=1e-3 * max(CANVAS))


def test_detections_equal_torchvisions(pair: Pair) -> None:
    found = jax.jit(lambda v: pair.net.apply(v, jnp.asarray(PIXELS), jnp.asarray(SIZES)))(pair.variables)
    for n, theirs in enumerate(pair.detections):
        valid = np.asarray(found.valid[n])
        between = ((theirs["scores"] > 0.05) & (theirs["scores"] < 0.95)).sum()
        assert between >= 20, "too few boxes to tell"
        np.testing.assert_array_equal(np.asarray(found.labels[n])[valid], theirs["labels"].numpy())
        np.testing.assert_allclose(np.asarray(found.scores[n])[valid], theirs["scores"].numpy(), atol=1e-3)
        np.testing.assert_allclose(np.asarray(found.boxes[n])[valid], theirs["boxes"].numpy(), atol=1e-3 * max(CANVAS))


def test_the_four_losses_and_their_gradients_equal_torchvisions(pair: Pair) -> None:
    if pair.config.pyramid_norm:
        pytest.skip("the losses and what they flow through are the same in both versions")
    torch = pytest.importorskip("torch")
    gold, config = Annotated(jnp.asarray(GOLD), jnp.asarray(LABELS), jnp.asarray(THERE)), pair.config
    sampling = Sampling(anchors=EVERYTHING, proposals=EVERYTHING)
    anchors, keys = np.concatenate(config.anchors_of(CANVAS)), jax.random.split(jax.random.key(0), len(GOLD))

    def losses(params: Any) -> Any:
        variables = {**pair.variables, "params": params}
        maps = pair.net.apply(variables, jnp.asarray(PIXELS), jnp.asarray(SIZES), train=True, method=FasterRcnn.maps)
        logits, offsets = pair.net.apply(variables, maps, method=lambda net, x: net.proposer(x, train=True))
        found = proposal_losses(sampling, anchors, logits, offsets, gold, keys)
        sampled = sample(sampling, propose(config, CANVAS, logits, offsets, jnp.asarray(SIZES)), gold, keys)
        _, scores, moves = pair.net.apply(variables, maps, sampled.boxes, train=True, method=FasterRcnn.regions)
        found |= head_losses(sampled, scores, moves)
        means = {name: total / count for name, (total, count) in found.items()}
        return sum(means.values()), means

    gradients, means = jax.jit(jax.grad(losses, has_aux=True))(pair.variables["params"])
    targets = [
        {"boxes": torch.tensor(boxes[there]), "labels": torch.tensor(labels[there])}
        for boxes, labels, there in zip(GOLD, LABELS, THERE, strict=True)
    ]
    model = pair.model.train()
    model.zero_grad()
    maps = model.backbone(pair.pictures.tensors)
    proposals, theirs = model.rpn(pair.pictures, maps, targets)
    _, others = model.roi_heads(maps, proposals, pair.pictures.image_sizes, targets)
    model.eval()
    names = {"objectness": "loss_objectness", "proposals": "loss_rpn_box_reg", "classes": "loss_classifier", "boxes": "loss_box_reg"}
    for ours, name in names.items():
        expected = float({**theirs, **others}[name].detach())
        assert expected > 1e-3 and abs(float(means[ours]) - expected) <= 1e-4 * max(1.0, expected), (ours, float(means[ours]), expected)
    sum({**theirs, **others}.values()).backward()
    expected = {name: parameter.grad.numpy() for name, parameter in model.named_parameters() if parameter.grad is not None}
    written = write(rcnn_rules(config), {"params": gradients})
    assert set(written) == set(expected)
    for name, found in written.items():
        # A unit near 0 is on in one framework and off in the other: PyTorch's own fp32 gradients lie up to 3e-2 from its fp64 ones.
        assert np.linalg.norm(found - expected[name]) <= 1e-2 * np.linalg.norm(expected[name]), name


def test_what_lies_beyond_a_picture_changes_nothing_and_a_box_stays_inside_it() -> None:
    config = RcnnConfig(
        ResNetConfig(depths=(1, 1), stem=8, norm="group", groups=2, bottleneck=False),
        classes=3,
        width=8,
        anchors=(8.0, 16.0, 32.0),
        hidden=8,
        canonical=64.0,
        before_nms=50,
        after_nms=20,
        score=0.0,
        detections=10,
    )
    net, sizes = FasterRcnn(config), jnp.array([[40, 48], [64, 20]])
    pixels = reference.drawn(2, (64, 64))
    variables = jax.jit(net.init)(jax.random.key(0), pixels, sizes)
    other = pixels.copy()
    other[0, 40:], other[0, :, 48:], other[1, :, 20:] = 255, 255, 255
    call = jax.jit(net.apply)
    first, second = (call(variables, x, sizes) for x in (pixels, other))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert first.valid.any()
    for n, (height, width) in enumerate(np.asarray(sizes)):
        boxes = np.asarray(first.boxes[n])[np.asarray(first.valid[n])]
        assert (boxes >= 0).all() and (boxes[:, [0, 2]] <= width).all() and (boxes[:, [1, 3]] <= height).all()


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="a backbone of 4 stages needs 5 sides of anchors"):
        RcnnConfig(anchors=(32.0,))
    with pytest.raises(ValueError, match="the background and at least one class"):
        RcnnConfig(classes=1)
    with pytest.raises(ValueError, match=r"multiples of 32, found \[96, 100\]"):
        FasterRcnn(RcnnConfig()).init(jax.random.key(0), np.zeros((1, 96, 100, 3), np.uint8), np.array([[96, 100]]))
