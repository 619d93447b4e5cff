"""VGG checkpoints of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmre_jax.encoders.vgg import VggConfig
from mmre_jax.weights import hub
from mmre_jax.weights.rules import Rule, WeightError, dense_rules, read


def vgg_rules(config: VggConfig, prefix: str = "", part: str = "") -> tuple[Rule, ...]:
    """The table for the parameters of a `Vgg(config)`.

    Args:
      prefix: of the keys.
      part: where the parameters are, 'vision/' for a system's part of that name.
    """
    rules, place = [], 0
    for i, widths in enumerate(config.stages):
        for j in range(len(widths)):
            source, target = f"{prefix}features.{place}", f"{part}stage_{i}_{j}"
            rules += [Rule(f"{source}.weight", f"{target}/kernel", "conv"), Rule(f"{source}.bias", f"{target}/bias")]
            place += 2  # the activation has a number too
        place += 1  # and the pooling
    if not config.hidden:
        return tuple(rules)
    first = Rule(f"{prefix}classifier.0.weight", f"{part}fc6/kernel", "flat"), Rule(f"{prefix}classifier.0.bias", f"{part}fc6/bias")
    return (*rules, *first, *dense_rules({f"{prefix}classifier.3": f"{part}fc7"}))


def vgg_unread(config: VggConfig, prefix: str = "") -> dict[str, str]:
    """{pattern: reason} for the tensors of a checkpoint that the encoder never reads."""
    if config.hidden:
        return {f"{prefix}classifier.6.*": "the classifier of the pre-training's classes"}
    return {f"{prefix}classifier.*": "the dense layers are not asked for"}


def load_vgg(directory: str | Path, config: VggConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the parameters of a `Vgg` from a directory with the tensors of a torchvision state dict, one without batch normalisation.

    Returns:
      The filled tree, see `rules.read`.

    Raises:
      WeightError: unreadable files, or a checkpoint that does not fit the model.
    """
    tensors = hub.read_tensors(directory)
    if any(name.endswith("running_mean") for name in tensors):
        raise WeightError(f"{directory}: a VGG with batch normalisation, which is not built here")
    return read(vgg_rules(config), tensors, params, unread=vgg_unread(config), source=str(directory))


def describe_vgg(tensors: Mapping[str, np.ndarray], prefix: str = "", *, source: str = "the checkpoint") -> VggConfig:
    """The sizes that the shapes of a state dict say, with its dense layers if it has them.

    Raises:
      WeightError: for tensors of no VGG.
    """
    start = f"{prefix}features."
    places = sorted(int(n) for name in tensors if name.startswith(start) and (n := name[len(start) :].removesuffix(".weight")).isdecimal())
    if not places or places[0] != 0 or any(tensors[f"{start}{n}.weight"].ndim != 4 for n in places):
        raise WeightError(f"{source} has no convolutions {start}0.weight and on: no VGG, or not under torchvision's keys")
    stages: list[list[int]] = [[]]
    for n, before in zip(places, [0, *places], strict=False):
        if n - before > 2:  # a pooling stands between
            stages.append([])
        stages[-1].append(tensors[f"{start}{n}.weight"].shape[0])
    hidden = tensors.get(f"{prefix}classifier.3.weight")
    return VggConfig(tuple(map(tuple, stages)), 0 if hidden is None else hidden.shape[0])
