"""Faster R-CNN checkpoints of torchvision, versions 1 and 2, and Mask R-CNN's, whose mask head is not read.

Trees are a module's variables, see weights/resnet.py.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmre_jax.encoders.rcnn.faster_rcnn import RcnnConfig
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.weights import hub
from mmre_jax.weights.resnet import COUNTED, describe_tensors, resnet_rules, resnet_unread, unit_rules
from mmre_jax.weights.rules import Rule, WeightError, dense_rules

BODY, _PYRAMID, _PROPOSER, _HEAD = "backbone.body.", "backbone.fpn.", "rpn.head.", "roi_heads."
# Names of state dicts from before torchvision 0.13, those of the published COCO weights of version 1 among them.
_OLD = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)"), r"\1.0.0.\2"),
)
EPS_OF_COCO_V1 = 0.0  # torchvision sets it for the published version 1 weights, Faster and Mask R-CNN's; no tensor tells


def rcnn_rules(config: RcnnConfig, part: str = "") -> tuple[Rule, ...]:
    """The table for the variables of a `FasterRcnn(config)`, of tensors under today's names (`renamed`).

    Args:
      part: where the variables are in their collections, 'vision/' for a system's part of that name.
    """
    head = {f"{part}head/conv_{n}": f"{_HEAD}box_head.{n}" for n in range(config.head_convolutions)}
    plain = {f"{_PROPOSER}conv.{n}.0": f"{part}proposer/conv_{n}" for n in range(config.proposal_convolutions)}
    plain |= {f"{_PROPOSER}cls_logits": f"{part}proposer/objectness", f"{_PROPOSER}bbox_pred": f"{part}proposer/offsets"}
    dense = {f"{_HEAD}box_predictor.cls_score": "head/classes", f"{_HEAD}box_predictor.bbox_pred": "head/offsets"}
    first = f"{_HEAD}box_head.{config.head_convolutions + 1}" if config.head_convolutions else f"{_HEAD}box_head.fc6"
    if not config.head_convolutions:
        dense[f"{_HEAD}box_head.fc7"] = "head/fc7"
    return (
        *pyramid_rules(config.pyramid, part),
        *_convolutions(head, config.backbone),
        *_convolutions({target: source for source, target in plain.items()}),
        Rule(f"{first}.weight", f"params/{part}head/fc6/kernel", "flat"),
        Rule(f"{first}.bias", f"params/{part}head/fc6/bias"),
        *dense_rules({source: f"params/{part}{target}" for source, target in dense.items()}),
    )


def pyramid_rules(config: PyramidConfig, part: str = "") -> tuple[Rule, ...]:
    """The table for the variables of a detector's backbone and pyramid, of a `PyramidEncoder(config)`.

    Args:
      part: as of `rcnn_rules`.
    """
    needed = {"inner": range(config.read[0], config.stages), "layer": config.read}
    names = {f"{kind}_{n}": f"{_PYRAMID}{kind}_blocks.{n}" for kind, stages in needed.items() for n in stages}
    places = {f"{part}pyramid/{target}": source if config.normed else f"{source}.0" for target, source in names.items()}
    body = resnet_rules(config.backbone, "torchvision", BODY, f"{part}backbone/")
    return (*body, *_convolutions(places, config.backbone if config.normed else None))


def _convolutions(names: Mapping[str, str], normed: ResNetConfig | None = None) -> tuple[Rule, ...]:
    """Rules for convolutions {path here: name there}, followed by a norm such as a ResNet of that configuration has, or with a bias."""
    if normed is not None:
        return unit_rules({target: (f"{source}.0", f"{source}.1") for target, source in names.items()}, normed)
    kernels = [Rule(f"{source}.weight", f"params/{target}/kernel", "conv") for target, source in names.items()]
    return (*kernels, *(Rule(f"{source}.bias", f"params/{target}/bias") for target, source in names.items()))


def pyramid_unread(config: PyramidConfig) -> dict[str, str]:
    """{pattern: reason} for the tensors of a checkpoint that a `PyramidEncoder(config)` does not depend on."""
    heads = {f"{_HEAD}{kind}_*": f"the {kind} head" for kind in ("box", "mask", "keypoint")}
    finer = [f"inner_blocks.{n}" for n in range(config.read[0])]
    others = finer + [f"layer_blocks.{n}" for n in range(config.stages) if n not in config.read]
    return {
        f"{_PROPOSER}*": "the proposal network",
        **heads,
        **{f"{_PYRAMID}{name}.*": "other levels of the pyramid" for name in others},
        "*.num_batches_tracked": COUNTED,
    }


def rcnn_unread(config: RcnnConfig) -> dict[str, str]:
    """{pattern: reason} for the tensors of a checkpoint that the detector never reads."""
    heads = {f"{_HEAD}mask_head.*": "the mask head", f"{_HEAD}mask_predictor.*": "the mask head"}
    counts = {"*.num_batches_tracked": COUNTED}
    stages = resnet_unread(config.backbone, len(config.backbone.depths), prefix=BODY)
    return {**counts, **heads, **{name: why for name, why in stages.items() if not name.endswith("num_batches_tracked")}}


def renamed(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors under the names that torchvision gives them since 0.13."""
    found = {}
    for name, tensor in tensors.items():
        for pattern, today in _OLD:
            name = re.sub(rf"^{pattern.pattern}$", today, name)
        found[name] = tensor
    return found


def describe_rcnn(tensors: Mapping[str, np.ndarray], *, eps: float | None = None, source: str = "the checkpoint") -> RcnnConfig:
    """The sizes that the shapes of a state dict, under today's names, say, with frozen norms and torchvision's thresholds.

    Args:
      eps: of the norms; None: as in torchvision's published weights, 0 for version 1 and 1e-5 for version 2.

    Raises:
      WeightError: a part is missing, or is none of a detector that can be built.
    """
    needed = (f"{_PYRAMID}inner_blocks.0.0.weight", f"{_PROPOSER}bbox_pred.weight", f"{_HEAD}box_predictor.cls_score.weight")
    if missing := [name for name in needed if name not in tensors]:
        raise WeightError(f"{source} lacks {', '.join(missing)}: no Faster R-CNN with a feature pyramid, or not under torchvision's keys")
    backbone = describe_tensors(tensors, BODY, source=source)
    normed = f"{_PYRAMID}inner_blocks.0.1.weight" in tensors
    if eps is None:
        eps = 1e-5 if normed else EPS_OF_COCO_V1
    levels = len(backbone.depths) + 1
    classifier = tensors[f"{_HEAD}box_predictor.cls_score.weight"]
    try:
        return RcnnConfig(
            backbone=dataclasses.replace(backbone, eps=eps),
            classes=classifier.shape[0],
            width=tensors[needed[0]].shape[0],
            anchors=tuple(32.0 * 2**level for level in range(levels)),
            proposal_convolutions=_count(tensors, rf"{_PROPOSER}conv\.\d+\.0\.weight"),
            head_convolutions=_count(tensors, rf"{_HEAD}box_head\.\d+\.0\.weight"),
            hidden=classifier.shape[1],
            pyramid_norm=normed,
        )
    except ValueError as error:
        raise WeightError(f"{source}: {error}") from error


def read_rcnn(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a torchvision state dict, a file or a directory's, under today's names."""
    return renamed(hub.read_file(path) if Path(path).is_file() else hub.read_tensors(path))


def _count(tensors: Mapping[str, np.ndarray], pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in tensors)
