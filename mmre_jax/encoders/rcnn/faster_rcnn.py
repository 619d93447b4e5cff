"""Faster R-CNN with a feature pyramid over a ResNet: from uint8 pictures to boxes, with static shapes.

B pictures of one canvas size, A anchors, P proposals, D detections, C classes with the background first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mmre_jax.encoders.convolution import Norm
from mmre_jax.encoders.rcnn import regions
from mmre_jax.encoders.rcnn.pyramid import Pyramid, PyramidConfig, convolve
from mmre_jax.encoders.rcnn.roi_align import roi_align
from mmre_jax.encoders.resnet import ResNet, ResNetConfig

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PROPOSAL_WEIGHTS: regions.Weights = (1.0, 1.0, 1.0, 1.0)
BOX_WEIGHTS: regions.Weights = (10.0, 10.0, 5.0, 5.0)
_SMALLEST_PROPOSAL, _SMALLEST_BOX = 1e-3, 1e-2  # pixels a side
RATIOS = (0.5, 1.0, 2.0)  # height over width, of the anchors


@dataclasses.dataclass(frozen=True)
class RcnnConfig:
    """Sizes and thresholds; the defaults are those of torchvision's ResNet-50-FPN for COCO, version 1.

    Attributes:
      backbone: every stage of it feeds a level of the pyramid; a coarser level, of every second cell of the last, is for proposals alone.
      classes: C.
      width: channels of the pyramid.
      anchors: side of the anchors of each level, one more than the backbone has stages.
      proposal_convolutions: 3x3, before a level's proposals are read off.
      head_convolutions: 3x3 with a norm, before the dense layers of a region.
      hidden: width of the dense layers, and of a region's feature.
      pyramid_norm: whether the pyramid's convolutions have a norm, as version 2's have, instead of a bias.
      canonical: side, in pixels, of the region that is read at stride 16.
      before_nms: best proposals of each level that are looked at.
      after_nms: P.
      proposal_nms: IoU above which the worse of two proposals is dropped.
      score: lowest score of a detection.
      nms: IoU above which the worse of two detections of a class is dropped.
      detections: D.
    """

    backbone: ResNetConfig = ResNetConfig(eps=0.0)
    classes: int = 91
    width: int = 256
    anchors: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    proposal_convolutions: int = 1
    head_convolutions: int = 0
    hidden: int = 1024
    pyramid_norm: bool = False
    canonical: float = 224.0
    before_nms: int = 1000
    after_nms: int = 1000
    proposal_nms: float = 0.7
    score: float = 0.05
    nms: float = 0.5
    detections: int = 100

    def __post_init__(self) -> None:
        levels = len(self.backbone.depths) + 1
        if len(self.anchors) != levels:
            raise ValueError(f"a backbone of {levels - 1} stages needs {levels} sides of anchors, found {self.anchors}")
        if self.classes < 2:
            raise ValueError(f"a detector has the background and at least one class, found {self.classes} classes")

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels a cell of the levels that regions are read from."""
        first = self.backbone.stem_stride * (2 if self.backbone.stem_pool else 1)
        return tuple(first * 2**stage for stage in range(len(self.backbone.depths)))

    @property
    def divisor(self) -> int:
        """What a canvas's sides are multiples of."""
        return self.strides[-1]

    @property
    def pyramid(self) -> PyramidConfig:
        """All levels over the backbone."""
        return PyramidConfig(self.backbone, self.width, self.pyramid_norm)

    @property
    def norm(self) -> Norm:
        """Of the head's convolutions, where it has some."""
        return self.backbone.feature_norm

    def anchors_of(self, canvas: tuple[int, int]) -> list[np.ndarray]:
        """The anchors of each level on a canvas of that height and width, [cells * ratios, 4] each."""
        grids = [tuple(side // stride for side in canvas) for stride in self.strides]
        grids.append(tuple((cells + 1) // 2 for cells in grids[-1]))
        return [regions.grid_anchors(canvas, grid, side, RATIOS) for grid, side in zip(grids, self.anchors, strict=True)]


@flax.struct.dataclass
class Proposals:
    """Where something may be. boxes [B, P, 4] in pixels of the canvas, best first; valid bool [B, P]."""

    boxes: jax.Array
    valid: jax.Array


@flax.struct.dataclass
class Detections:
    """What is where. boxes [B, D, 4] in pixels of the canvas, best first; labels int32, from 1 on, scores and valid (bool), [B, D]."""

    boxes: jax.Array
    labels: jax.Array
    scores: jax.Array
    valid: jax.Array


def normalise(pixels: jax.Array, sizes: jax.Array) -> jax.Array:
    """uint8 [B, H, W, 3] -> float32, by ImageNet's mean and deviation; 0 beyond each picture's size, (height, width) int [B, 2]."""
    mean, std = (jnp.asarray(x, jnp.float32)[None, None, None] for x in (MEAN, STD))
    rows, columns = (jnp.arange(side)[None] for side in pixels.shape[1:3])
    inside = (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None, :]
    return jnp.where(inside[..., None], (pixels.astype(jnp.float32) / 255.0 - mean) / std, 0.0)


class FasterRcnn(nn.Module):
    """The detector. Parts: `backbone`, `pyramid`, `proposer`, `head`."""

    config: RcnnConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.backbone = ResNet(self.config.backbone, self.dtype)
        self.pyramid = Pyramid(self.config.pyramid, self.dtype)
        self.proposer = Proposer(self.config, self.dtype)
        self.head = BoxHead(self.config, self.dtype)

    def __call__(self, pixels: jax.Array, sizes: jax.Array, *, train: bool = False) -> Detections:
        """Detects.

        Args:
          pixels: uint8 [B, H, W, 3], each picture at the top left of its canvas; sides are multiples of `config.divisor`.
          sizes: int [B, 2], height and width of each picture.
        """
        maps = self.maps(pixels, sizes, train=train)
        logits, offsets = self.proposer(maps, train=train)
        proposals = propose(self.config, pixels.shape[1:3], logits, offsets, sizes)
        _, scores, moves = self.regions(maps, proposals.boxes, train=train)
        return detect(self.config, proposals, scores, moves, sizes)

    def maps(self, pixels: jax.Array, sizes: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """The pyramid's levels, [B, h, w, width] each, the finest first, the coarsest one for proposals alone.

        Raises:
          ValueError: for a canvas whose sides do not divide.
        """
        if any(side % self.config.divisor for side in pixels.shape[1:3]):
            raise ValueError(f"a canvas has sides that are multiples of {self.config.divisor}, found {list(pixels.shape[1:3])}")
        return self.pyramid(self.backbone(normalise(pixels, sizes), train=train), train=train)

    def regions(self, maps: Sequence[jax.Array], boxes: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What the head says of regions [B, N, 4]: features [B, N, hidden], class logits [B, N, C] and offsets [B, N, C, 4]."""
        cells = roi_align(maps[: len(self.config.strides)], boxes, self.config.strides, self.config.canonical)
        return self.head(cells, train=train)


class Proposer(nn.Module):
    """The proposal network: 3x3 `conv_i` with ReLU, 1x1 `objectness` and `offsets`, the same for every level."""

    config: RcnnConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], *, train: bool) -> tuple[jax.Array, jax.Array]:
        """The levels [B, h, w, width] -> objectness logits [B, A] and offsets [B, A, 4], fp32, in the anchors' order."""
        init = nn.initializers.normal(0.01)
        width, ratios = self.config.width, len(RATIOS)
        hidden = [
            nn.Conv(width, (3, 3), padding=1, dtype=self.dtype, kernel_init=init, name=f"conv_{n}")
            for n in range(self.config.proposal_convolutions)
        ]
        objectness = nn.Conv(ratios, (1, 1), dtype=self.dtype, kernel_init=init, name="objectness")
        offsets = nn.Conv(4 * ratios, (1, 1), dtype=self.dtype, kernel_init=init, name="offsets")
        found = []
        for x in maps:
            for layer in hidden:
                x = nn.relu(layer(x))
            found.append((objectness(x).reshape(len(x), -1), offsets(x).reshape(len(x), -1, 4)))
        logits, moves = zip(*found, strict=True)
        return jnp.concatenate(logits, axis=1).astype(jnp.float32), jnp.concatenate(moves, axis=1).astype(jnp.float32)


class BoxHead(nn.Module):
    """Regions [B, N, 7, 7, width] to features, classes and offsets: 3x3 `conv_i` with a norm, dense `fc6`, `fc7`, `classes`, `offsets`."""

    config: RcnnConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, cells: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See `FasterRcnn.regions`. Version 2's head (with convolutions) has one dense layer, fc6."""
        config, lead = self.config, cells.shape[:2]
        x = cells.reshape(-1, *cells.shape[2:])
        for n in range(config.head_convolutions):
            x = nn.relu(convolve(x, config.width, 3, config.norm, self.dtype, f"conv_{n}", train=train))
        x = nn.relu(nn.DenseGeneral(config.hidden, axis=(-3, -2, -1), dtype=self.dtype, name="fc6")(x))  # kernel [7, 7, width, hidden]
        if not config.head_convolutions:
            x = nn.relu(nn.Dense(config.hidden, dtype=self.dtype, name="fc7")(x))
        logits = nn.Dense(config.classes, dtype=self.dtype, name="classes")(x).astype(jnp.float32)
        offsets = nn.Dense(4 * config.classes, dtype=self.dtype, name="offsets")(x).astype(jnp.float32)
        return x.reshape(*lead, -1), logits.reshape(*lead, -1), offsets.reshape(*lead, -1, 4)


def propose(config: RcnnConfig, canvas: tuple[int, int], logits: jax.Array, offsets: jax.Array, sizes: jax.Array) -> Proposals:
    """The best regions after suppression within each level.

    Args:
      canvas: height and width, of which the anchors follow.
      logits, offsets: [B, A] and [B, A, 4], of `Proposer`; no gradient passes.
      sizes: int [B, 2], height and width of each picture.
    """
    anchors = config.anchors_of(canvas)
    starts = np.cumsum([0, *map(len, anchors)])
    most = min(config.before_nms, max(map(len, anchors)))

    def of_picture(logits: jax.Array, offsets: jax.Array, size: jax.Array) -> Proposals:
        levels = []
        for start, of_level in zip(starts, anchors, strict=False):
            scores, places = jax.lax.top_k(logits[start : start + len(of_level)], min(most, len(of_level)))
            moved = regions.decode(offsets[start + places], jnp.asarray(of_level)[places], PROPOSAL_WEIGHTS)
            short = most - len(scores)
            levels.append((jnp.pad(scores, (0, short), constant_values=-jnp.inf), jnp.pad(moved, ((0, short), (0, 0)))))
        scores, boxes = (jnp.stack(each) for each in zip(*levels, strict=True))
        boxes = regions.clip(boxes, size)
        valid = regions.at_least(boxes, _SMALLEST_PROPOSAL) & (scores > -jnp.inf)
        keep = jax.vmap(lambda b, v: regions.nms(b, v, config.proposal_nms))(boxes, valid)
        ranked = jnp.where(keep, scores, -jnp.inf).reshape(-1)
        best, places = jax.lax.top_k(ranked, min(config.after_nms, len(ranked)))
        return Proposals(boxes.reshape(-1, 4)[places], best > -jnp.inf)

    return jax.vmap(of_picture)(jax.lax.stop_gradient(logits), jax.lax.stop_gradient(offsets), sizes)


def detect(config: RcnnConfig, proposals: Proposals, logits: jax.Array, offsets: jax.Array, sizes: jax.Array) -> Detections:
    """The best boxes over all classes after suppression within each class; logits [B, P, C], offsets [B, P, C, 4]."""

    def of_picture(boxes: jax.Array, valid: jax.Array, logits: jax.Array, offsets: jax.Array, size: jax.Array) -> Detections:
        scores = jax.nn.softmax(logits, axis=-1)[:, 1:]
        moved = regions.clip(regions.decode(offsets[:, 1:], boxes[:, None], BOX_WEIGHTS), size)
        fine = valid[:, None] & (scores > config.score) & regions.at_least(moved, _SMALLEST_BOX)
        places, best = regions.best_by_class(moved, jnp.where(fine, scores, 0.0), config.nms, config.detections)
        found = best > 0
        kept = jnp.where(found[:, None], moved.reshape(-1, 4)[places], 0.0)
        return Detections(kept, jnp.where(found, places % scores.shape[1] + 1, 0), best, found)

    return jax.vmap(of_picture)(proposals.boxes, proposals.valid, logits, offsets, sizes)
