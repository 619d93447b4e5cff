"""What a Faster R-CNN learns from: which anchors and proposals stand for what, which of them are looked at, and the four losses.

As torchvision defines them. B pictures, A anchors, P proposals, T annotated boxes, S sampled regions, C classes. Losses are sums and the
counts they are means over, so that the shards of a batch add up.
"""

from __future__ import annotations

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mmre_jax import boxes as boxes_lib
from mmre_jax.encoders.rcnn import regions
from mmre_jax.encoders.rcnn.faster_rcnn import BOX_WEIGHTS, PROPOSAL_WEIGHTS, Proposals
from mmre_jax.losses import cross_entropy

BELOW, BETWEEN = -1, -2  # in place of an annotated box: too little overlap with any, and neither enough nor little
_BETA = 1 / 9  # of the smooth L1 loss
Loss = tuple[jax.Array, jax.Array]  # sum, count


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How anchors and proposals are matched and drawn; the defaults are torchvision's.

    Attributes:
      anchor_high, anchor_low: IoU from which an anchor stands for a box, and below which it stands for the background.
      anchors: drawn of each picture, of which at most `anchor_share` stand for boxes.
      proposal: IoU from which a proposal stands for a box, below which it stands for the background.
      proposals: S, drawn of each picture, of which at most `proposal_share` stand for boxes.
    """

    anchor_high: float = 0.7
    anchor_low: float = 0.3
    anchors: int = 256
    anchor_share: float = 0.5
    proposal: float = 0.5
    proposals: int = 512
    proposal_share: float = 0.25


@flax.struct.dataclass
class Annotated:
    """Annotated boxes. boxes [B, T, 4] in pixels of the canvas; labels int [B, T], from 1 on; valid bool [B, T]."""

    boxes: jax.Array
    labels: jax.Array
    valid: jax.Array


@flax.struct.dataclass
class Sampled:
    """Regions to learn from. boxes [B, S, 4]; labels int32 [B, S], 0 the background; targets [B, S, 4], offsets; valid bool [B, S]."""

    boxes: jax.Array
    labels: jax.Array
    targets: jax.Array
    valid: jax.Array


def match(boxes: jax.Array, gold: jax.Array, valid: jax.Array, high: float, low: float, *, rescue: bool) -> jax.Array:
    """The annotated box that each box stands for: the one it overlaps most.

    Args:
      boxes: [N, 4].
      gold: [T, 4], annotated.
      valid: bool [T].
      high, low: IoU from which a box stands for an annotated one, and below which it stands for the background.
      rescue: whether the boxes that overlap an annotated one more than all others do, ties included, stand for the one they overlap most
        even below `high`.

    Returns:
      int32 [N]: an index, or BELOW, or BETWEEN.
    """
    overlap = jnp.where(valid[:, None], boxes_lib.pairwise_iou(gold, boxes), -1.0)
    most, which = overlap.max(axis=0), overlap.argmax(axis=0).astype(jnp.int32)
    found = jnp.where(most >= high, which, jnp.where(most < low, BELOW, BETWEEN))
    if not rescue:
        return found
    best = overlap.max(axis=1, keepdims=True)
    return jnp.where(((overlap == best) & valid[:, None] & (best > 0)).any(axis=0), which, found)


def draw(key: jax.Array, positive: jax.Array, negative: jax.Array, count: int, share: float) -> tuple[jax.Array, jax.Array]:
    """Of positive and negative candidates, bool [N] each, at most `count` in all and `count * share` positive ones, at random."""
    first, second = jax.random.split(key)
    taken = _any_of(first, positive, int(count * share))
    return taken, _any_of(second, negative, count, count - taken.sum())


def _any_of(key: jax.Array, candidates: jax.Array, most: int, limit: jax.Array | None = None) -> jax.Array:
    """bool [N]: at most `most` (and `limit`) of the candidates."""
    most = min(most, len(candidates))
    ranks = jnp.where(candidates, jax.random.uniform(key, candidates.shape), -1.0)
    drawn, places = jax.lax.top_k(ranks, most)
    fine = drawn >= 0
    if limit is not None:
        fine &= jnp.arange(most) < limit
    return jnp.zeros_like(candidates).at[places].set(fine)


def proposal_losses(
    sampling: Sampling,
    anchors: np.ndarray | jax.Array,
    logits: jax.Array,
    offsets: jax.Array,
    gold: Annotated,
    keys: jax.Array,
    seen: jax.Array | None = None,
) -> dict[str, Loss]:
    """`objectness`, binary cross-entropy, and `proposals`, smooth L1, of the anchors drawn; means over those.

    Args:
      anchors: [A, 4].
      logits, offsets: [B, A], [B, A, 4], of `Proposer`.
      keys: [B], of what is drawn of each picture.
      seen: bool [B], the pictures to learn from; None: all.
    """

    def of_picture(logits: jax.Array, offsets: jax.Array, gold: Annotated, key: jax.Array, seen: jax.Array) -> tuple[jax.Array, ...]:
        boxes = jnp.asarray(anchors)
        which = match(boxes, gold.boxes, gold.valid, sampling.anchor_high, sampling.anchor_low, rescue=True)
        positive, negative = draw(key, (which >= 0) & seen, (which == BELOW) & seen, sampling.anchors, sampling.anchor_share)
        aims = regions.encode(_real(gold)[jnp.maximum(which, 0)], boxes, PROPOSAL_WEIGHTS)
        wrong = jnp.where(positive | negative, jax.nn.softplus(jnp.where(positive, -logits, logits)), 0.0)
        off = jnp.where(positive[:, None], smooth_l1(offsets - aims), 0.0)
        return wrong.sum(), off.sum(), (positive | negative).sum()

    everyone = jnp.ones(len(logits), bool) if seen is None else seen
    wrong, off, count = jax.vmap(of_picture)(logits, offsets, gold, keys, everyone)
    total = count.sum().astype(jnp.float32)
    return {"objectness": (wrong.sum(), total), "proposals": (off.sum(), total)}


def sample(sampling: Sampling, proposals: Proposals, gold: Annotated, keys: jax.Array, seen: jax.Array | None = None) -> Sampled:
    """Of the proposals and the annotated boxes themselves those that the head learns from; no gradient passes.

    Args:
      keys: [B], of what is drawn of each picture.
      seen: bool [B], the pictures to learn from; None: all.
    """

    def of_picture(proposals: Proposals, gold: Annotated, key: jax.Array, seen: jax.Array) -> Sampled:
        boxes = jnp.concatenate([proposals.boxes, _real(gold)])
        there = jnp.concatenate([proposals.valid, gold.valid]) & seen
        which = match(boxes, gold.boxes, gold.valid, sampling.proposal, sampling.proposal, rescue=False)
        positive, negative = draw(key, there & (which >= 0), there & (which == BELOW), sampling.proposals, sampling.proposal_share)
        taken, places = jax.lax.top_k((positive | negative).astype(jnp.int32), min(sampling.proposals, len(boxes)))
        box, index = boxes[places], jnp.maximum(which[places], 0)
        labels = jnp.where(positive[places], gold.labels[index], 0).astype(jnp.int32)
        aims = regions.encode(_real(gold)[index], box, BOX_WEIGHTS)  # of an empty box in a place where nothing is, not a number
        return Sampled(box, labels, jnp.where((labels > 0)[:, None], aims, 0.0), taken > 0)

    everyone = jnp.ones(len(keys), bool) if seen is None else seen
    return jax.lax.stop_gradient(jax.vmap(of_picture)(proposals, gold, keys, everyone))


def head_losses(sampled: Sampled, logits: jax.Array, offsets: jax.Array) -> dict[str, Loss]:
    """`classes`, cross-entropy, and `boxes`, smooth L1 of the gold class's offsets, of the regions sampled; means over those.

    Args:
      logits, offsets: [B, S, C], [B, S, C, 4], of `BoxHead`.
    """
    wrong = jnp.where(sampled.valid, cross_entropy(logits, sampled.labels), 0.0)
    own = jnp.take_along_axis(offsets, sampled.labels[..., None, None], axis=2)[..., 0, :]
    off = jnp.where((sampled.valid & (sampled.labels > 0))[..., None], smooth_l1(own - sampled.targets), 0.0)
    total = sampled.valid.sum().astype(jnp.float32)
    return {"classes": (wrong.sum(), total), "boxes": (off.sum(), total)}


def smooth_l1(x: jax.Array) -> jax.Array:
    """x^2 / (2 beta) where |x| is below beta = 1 / 9, else |x| - beta / 2."""
    size = jnp.abs(x)
    return jnp.where(size < _BETA, x**2 / (2 * _BETA), size - _BETA / 2)


def _real(gold: Annotated) -> jax.Array:
    """The annotated boxes of one picture, [T, 4], with a box of side 1 where there is none, of which logarithms can be taken."""
    return jnp.where(gold.valid[:, None], gold.boxes, jnp.array([[0.0, 0.0, 1.0, 1.0]]))
