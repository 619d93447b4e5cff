"""Faster R-CNN with a feature pyramid (Ren et al. 2015, Lin et al. 2017), trained as torchvision trains it.

What systems look at as `detected` objects is found by such a detector, and its backbone is QEOT's image encoder. It reads no words. Of its
four losses, means over what was drawn of the global batch, the sum is the loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.data.pictures import PicturePlan
from mmre_jax.declare import Section, SettingError, choice, number, whole, wholes
from mmre_jax.encoders.from_config import photo_and_objects, pyramid_config
from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn, RcnnConfig, propose
from mmre_jax.encoders.rcnn.targets import Annotated, Sampling, head_losses, proposal_losses, sample
from mmre_jax.encoders.vit import PHOTO
from mmre_jax.losses import global_sum
from mmre_jax.systems.system import Batch, Metrics, Variables


@dataclasses.dataclass(frozen=True)
class FasterRcnnSystem:
    """A detector of one photo a record, which a squashed picture fills.

    batch_norm: whether the statistics of norms follow the training batches.
    """

    net: FasterRcnn
    sampling: Sampling
    plan: PicturePlan
    batch_norm: bool = False

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Initial variables; of the batch only shapes matter."""
        return self.net.init(key, *self._inputs(batch), train=False)

    def loss(
        self, variables: Variables, batch: Batch, key: jax.Array, *, axis: str | None, train: bool
    ) -> tuple[jax.Array, Metrics, Variables]:
        """See System. The metrics are the loss and its four parts: objectness and proposals, classes and boxes. What is drawn of a record
        is the same wherever it is in the batch, on any number of devices."""
        mutable = [name for name in variables if name != "params"] if train and self.batch_norm else []
        (pixels, sizes), gold, seen = self._inputs(batch), self._annotated(batch), self._seen(batch)
        anchor_keys, region_keys = jax.vmap(lambda index: jax.random.split(jax.random.fold_in(key, index)), out_axes=1)(batch["index"])

        def run(net: FasterRcnn) -> dict[str, tuple[jax.Array, jax.Array]]:
            maps = net.maps(pixels, sizes, train=train)
            logits, offsets = net.proposer(maps, train=train)
            canvas = pixels.shape[1:3]
            proposals = propose(net.config, canvas, logits, offsets, sizes)
            anchors = jnp.concatenate([jnp.asarray(level) for level in net.config.anchors_of(canvas)])
            first = proposal_losses(self.sampling, anchors, logits, offsets, gold, anchor_keys, seen)
            sampled = sample(self.sampling, proposals, gold, region_keys, seen)
            _, classes, moves = net.regions(maps, sampled.boxes, train=train)
            return {**first, **head_losses(sampled, classes, moves)}

        parts, updates = self.net.apply(variables, method=run, mutable=mutable)
        shares = {name: total / jnp.maximum(global_sum(count, axis), 1.0) for name, (total, count) in parts.items()}
        share = sum(shares.values(), jnp.zeros((), jnp.float32))
        if axis is not None and updates:
            updates = jax.lax.pmean(updates, axis)
        records = batch["valid"].astype(jnp.float32).sum()
        everything = share * jnp.maximum(global_sum(records, axis), 1.0)  # as (sum, count) a mean once more
        return share, {"loss": (everything, records), **parts}, updates

    def predict(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        """box float32 [B, D, 4], normalised xyxy, label int32 [B, D], from 1 on, score float32 [B, D] and found bool [B, D], best first."""
        pixels, sizes = self._inputs(batch)
        found = self.net.apply(variables, pixels, sizes, train=False)
        height, width = pixels.shape[1:3]
        scale = jnp.array([width, height, width, height], jnp.float32)
        there = found.valid & self._seen(batch)[:, None]
        return {"box": found.boxes / scale[None, None], "label": found.labels, "score": found.scores, "found": there}

    def _inputs(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """uint8 [B, S, S, 3] and the pictures' sizes, int32 [B, 2]: all of the canvas."""
        pixels = batch["pictures"][PHOTO][:, 0]
        return pixels, jnp.broadcast_to(jnp.array(pixels.shape[1:3], jnp.int32), (len(pixels), 2))

    def _seen(self, batch: Batch) -> jax.Array:
        """bool [B]: pictures that there are, of records that count."""
        return batch["present"][PHOTO][:, 0] & batch["valid"]

    def _annotated(self, batch: Batch) -> Annotated:
        targets, side = batch["targets"], batch["pictures"][PHOTO].shape[2]
        valid = targets["valid"] & self._seen(batch)[:, None]
        return Annotated(targets["box"] * side, targets["label"], valid)


SETTINGS: Section = {  # the backbone and its pyramid are those of section `vision`
    "flavour": choice("paper", ("paper",), "torchvision's arithmetic, which its weights are for"),
    "modalities": choice("both", ("both",), "it looks at pictures, and reads no words"),
    "anchors": wholes((32, 64, 128, 256, 512), "[1, inf)", "side of the anchors of each level of the pyramid, pixels", order="ascending"),
    "proposal_convolutions": whole(1, "[1, inf)", "3x3, before a level's proposals are read off; 2 in torchvision's version 2"),
    "head_convolutions": whole(0, "[0, inf)", "3x3 with a norm, before the dense layers of a region; 4 in version 2"),
    "hidden": whole(1024, "[1, inf)", "width of those dense layers, and of a region's feature"),
    "canonical": number(224.0, "(0, inf)", "side of a region that is read at stride 16, pixels"),
    "before_nms": whole(1000, "[1, inf)", "best proposals of each level that are looked at"),
    "after_nms": whole(1000, "[1, inf)", "proposals that regions are read from"),
    "proposal_nms": number(0.7, "(0, 1]", "overlap from which the worse of two proposals is dropped"),
    "score": number(0.05, "[0, 1)", "lowest score of a detection"),
    "nms": number(0.5, "(0, 1]", "overlap from which the worse of two detections of a class is dropped"),
    "detections": whole(100, "[1, inf)", "most detections of a picture"),
    "sampling": {  # what is learnt from
        "anchor_high": number(0.7, "(0, 1]", "overlap from which an anchor stands for an object"),
        "anchor_low": number(0.3, "[0, 1]", "overlap below which it stands for the background"),
        "anchors": whole(256, "[1, inf)", "anchors drawn of each picture"),
        "anchor_share": number(0.5, "(0, 1]", "of them that may stand for objects"),
        "proposal": number(0.5, "(0, 1]", "overlap from which a proposal stands for an object"),
        "proposals": whole(512, "[1, inf)", "proposals drawn of each picture"),
        "proposal_share": number(0.25, "(0, 1]", "of them that may stand for objects"),
    },
}
_OF_DETECTOR = (
    "proposal_convolutions",
    "head_convolutions",
    "hidden",
    "canonical",
    "before_nms",
    "after_nms",
    "proposal_nms",
    "score",
    "nms",
    "detections",
)


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> FasterRcnnSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, data, vision.
      vocab_size: of no use.
      labels: the classes, the background first.

    Raises:
      ValueError: for settings that contradict each other.
    """
    del vocab_size
    system, vision = config.system, config.vision
    if config.task.name != "objects":
        raise ValueError(f"system 'faster_rcnn' has the task objects, found task.name={config.task.name!r}")
    if config.data.objects != "none":
        raise ValueError(f"a detector looks at the photo alone: set data.objects=none, found {config.data.objects!r}")
    if vision.resize != "squash":
        raise ValueError(f"boxes are parts of the whole photo, which vision.resize=squash alone keeps, found {vision.resize!r}")
    if system.sampling.anchor_low > system.sampling.anchor_high:
        raise SettingError(
            f"system.sampling.anchor_low={system.sampling.anchor_low} exceeds system.sampling.anchor_high={system.sampling.anchor_high}"
        )
    if len(system.anchors) != len(vision.depths) + 1:
        raise SettingError(
            f"system.anchors={tuple(system.anchors)} has {len(system.anchors)} sides, one for each level of the pyramid, of which there is "
            f"one more than the {len(vision.depths)} stages of vision.depths={tuple(vision.depths)}"
        )
    frozen = "backbone" in config.optim.frozen
    net = rcnn_config(config, len(labels), frozen=frozen)
    sampling = Sampling(**system.sampling.to_dict())
    return FasterRcnnSystem(FasterRcnn(net, dtype), sampling, photo_and_objects(vision, "none"), net.backbone.follows)


def rcnn_config(config: ConfigDict, classes: int, *, frozen: bool = False) -> RcnnConfig:
    """Sizes and thresholds of a configuration's detector.

    Args:
      classes: C, the background among them.
      frozen: whether its backbone is not trained.
    """
    system, pyramid = config.system, pyramid_config(config.vision, frozen=frozen)
    return RcnnConfig(
        backbone=pyramid.backbone,
        classes=classes,
        width=pyramid.width,
        anchors=tuple(map(float, system.anchors)),
        pyramid_norm=pyramid.normed,
        **{name: system[name] for name in _OF_DETECTOR},
    )
