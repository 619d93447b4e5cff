"""A trained detector as the image encoder of another system: its ResNet and feature pyramid, without proposals and heads. Or as the start
of another detector.

A detector is a state dict of torchvision's Faster or Mask R-CNN (a file, or a directory's tensors: weights/rcnn.py), or a run of system
faster_rcnn, by its workdir or the directory of one step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from mmre_jax import settings
from mmre_jax.encoders.from_config import resnet_config
from mmre_jax.encoders.rcnn.faster_rcnn import RcnnConfig
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.training.checkpoint import CheckpointError, Checkpoints
from mmre_jax.training.formats import FormatError, upgrade
from mmre_jax.training.locate import is_run, locate
from mmre_jax.weights import hub
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.rcnn import BODY, describe_rcnn, pyramid_rules, pyramid_unread, rcnn_rules, rcnn_unread, read_rcnn
from mmre_jax.weights.resnet import load_resnet
from mmre_jax.weights.rules import excused, read

SYSTEM = "faster_rcnn"  # of the runs that train a detector
_CLASSES = ("classes", "offsets")  # the layers of the head that have rows for each class
_PARTS = {"proposer": "the proposal network", "head": "the box head", "pyramid": "other levels of the pyramid"}

logger = logging.getLogger(__name__)


def describe_pyramid(path: str | Path) -> PyramidConfig:
    """The sizes of a detector's backbone and of all its pyramid; a state dict's norms are called frozen.

    Raises:
      WeightError: a file, directory or run that cannot be read, or that holds no detector.
    """
    if not is_run(path):
        return describe_rcnn(read_rcnn(path), source=str(path)).pyramid
    with _opened(path) as (checkpoints, step):
        config = settings.complete(upgrade(checkpoints.meta(step))["config"])
    if (name := config["system"]["name"]) != SYSTEM:
        raise WeightError(f"{path} is a run of system {name!r}, which has no detector: expected one of {SYSTEM!r}")
    vision = ConfigDict(config["vision"])
    return PyramidConfig(resnet_config(vision), vision.pyramid_width, vision.pyramid_norm)


def load_pyramid(path: str | Path, config: PyramidConfig, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the variables of a `PyramidEncoder` from a detector; the log says what of it is left out.

    Args:
      config: of the encoder; which level it has is read off the variables.
      variables: {"params": ..., "batch_stats": ... where there are such}, which may be shapes.

    Returns:
      A tree of the same structure, of numpy arrays.

    Raises:
      WeightError: as `describe_pyramid`, or a detector that does not fit.
    """
    if is_run(path):
        filled, left = _from_run(path, variables)
    else:
        stages = [int(name.removeprefix("layer_")) for name in variables["params"]["pyramid"] if name.startswith("layer_")]
        config = dataclasses.replace(config, level=None if len(stages) == config.stages else stages[0])
        tensors, unread = read_rcnn(path), pyramid_unread(config)
        filled = read(pyramid_rules(config), tensors, variables, unread=unread, source=str(path))
        left = Counter(excused(tensors, unread).values())
    found = len(traverse_util.flatten_dict(filled))
    logger.info("%s: %d tensors read; not read: %s", path, found, ", ".join(f"{why} ({left[why]})" for why in sorted(left)))
    return filled


def is_resnet(path: str | Path) -> bool:
    """Whether a directory holds a ResNet alone, as ImageNet trains it: a start for the backbone of a detector, without a pyramid.

    Raises:
      WeightError: a directory without readable weights.
    """
    if is_run(path) or not Path(path).is_dir():
        return False
    return not any(name.startswith(BODY) for name in hub.read_tensors(path))


def load_backbone(path: str | Path, config: ResNetConfig, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Variables with their part `backbone` filled from the directory of a ResNet; everything beside it starts fresh, as the log says.

    Raises:
      WeightError: as `load_resnet`.
    """
    own = {kind: tree["backbone"] for kind, tree in variables.items() if "backbone" in tree}
    filled = load_resnet(path, config, own)
    fresh = ", ".join(sorted(variables["params"].keys() - {"backbone"}))
    logger.info("%s: a ResNet; what stands on it starts fresh: %s", path, fresh)
    return {kind: {**tree, **({"backbone": filled[kind]} if kind in filled else {})} for kind, tree in variables.items()}


def load_detector(path: str | Path, config: RcnnConfig, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the variables of a `FasterRcnn` that is to learn other classes, from a state dict of torchvision: all but the two layers that
    know the classes, which start fresh, as the log says; or its backbone from a ResNet.

    Raises:
      WeightError: a file or directory that cannot be read, or that holds no detector that fits; a run, which train.init_from is for.
    """
    if is_run(path):
        raise WeightError(f"vision.weights={path} is a run: a detector starts from one with train.init_from, classes by name")
    if is_resnet(path):
        return load_backbone(path, config.backbone, variables)
    params = {**variables["params"], "head": {name: x for name, x in variables["params"]["head"].items() if name not in _CLASSES}}
    targets = tuple(f"params/head/{name}/" for name in _CLASSES)
    rules = tuple(rule for rule in rcnn_rules(config) if not rule.target.startswith(targets))
    unread = {**rcnn_unread(config), "roi_heads.box_predictor.*": "the layers that know its classes"}
    tensors = read_rcnn(path)
    filled = read(rules, tensors, {**variables, "params": params}, unread=unread, source=str(path))
    fresh = {name: variables["params"]["head"][name] for name in _CLASSES}
    left = Counter(excused(tensors, unread).values())
    said = ", ".join(f"{why} ({count} tensors)" for why, count in left.items())
    logger.info("%s: not read: %s; fresh: %s", path, said, ", ".join(f"head/{name}" for name in fresh))
    return {**filled, "params": {**filled["params"], "head": {**filled["params"]["head"], **fresh}}}


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Checkpoints, int]]:
    """The checkpoints of a run and the step to use it by; what is wrong with them as WeightError."""
    try:
        directory, step = locate(path)
        with Checkpoints(directory, read_only=True) as checkpoints:
            yield checkpoints, step
    except FormatError as error:
        raise WeightError(f"{path}: {error}") from error
    except CheckpointError as error:
        raise WeightError(str(error)) from error


def _from_run(path: str | Path, variables: Mapping[str, Any]) -> tuple[dict[str, Any], Counter[str]]:
    """The variables filled from a run, and how many of its arrays of each part are left out.

    What a norm learns is found in whichever collection it stands: a norm trained with batches can be frozen, and the other way round.
    """
    with _opened(path) as (checkpoints, step):
        held = {where[1:]: leaf for where, leaf in traverse_util.flatten_dict(checkpoints.read_variables(step)).items()}
    wanted = traverse_util.flatten_dict(variables)
    problems = [
        f"{'/'.join(where)} {list(leaf.shape)}: {'not there' if found is None else list(found.shape)}"
        for where, leaf in wanted.items()
        if (found := held.get(where[1:])) is None or found.shape != leaf.shape
    ]
    if problems:
        raise WeightError(f"{path} does not fit the model, {len(problems)} problems:\n  " + "\n  ".join(problems))
    filled = {where: np.array(held[where[1:]], leaf.dtype) for where, leaf in wanted.items()}
    left = Counter(_PARTS[where[0]] for where in held.keys() - {where[1:] for where in wanted})
    return traverse_util.unflatten_dict(filled), left
