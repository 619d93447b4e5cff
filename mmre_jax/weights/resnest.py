"""ResNeSt checkpoints of timm, whose keys are also those of the authors' code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.weights import hub
from mmre_jax.weights.directory import check_same
from mmre_jax.weights.resnet import block_units, describe, resnet_unread, unit_rules
from mmre_jax.weights.rules import Rule, read

_STEM = {"stem_0": ("conv1.0", "conv1.1"), "stem_1": ("conv1.3", "conv1.4"), "stem_2": ("conv1.6", "bn1")}
_UNITS = {
    "reduce": ("conv1", "bn1"),
    "split/splits": ("conv2.conv", "conv2.bn0"),
    "split/squeeze": ("conv2.fc1", "conv2.bn1"),
    "expand": ("conv3", "bn3"),
    "shortcut": ("downsample.1", "downsample.2"),
}


def resnest_rules(config: ResNetConfig, prefix: str = "", part: str = "") -> tuple[Rule, ...]:
    """The table for the variables of a `ResNet(config)` with `split`.

    Args:
      prefix: of the keys, such as 'image_model.resnet.' in a released state dict.
      part: where the variables are in their collections, 'vision/' for a system's part of that name.

    Raises:
      WeightError: for a group normalisation, which no checkpoint has.
    """
    units = _STEM | block_units(config, "layer{}.{{n}}", 1, _UNITS)
    rules = unit_rules({part + target: (prefix + conv, prefix + norm) for target, (conv, norm) in units.items()}, config)
    dense = []
    for stage in range(len(config.depths)):
        source, target = f"{prefix}layer{stage + 1}.{{n}}.conv2", f"params/{part}stage_{stage}/block_{{n}}/split"
        dense += [
            Rule(f"{source}.fc1.bias", f"{target}/squeeze/conv/bias"),
            Rule(f"{source}.fc2.weight", f"{target}/weigh/kernel", "conv"),
            Rule(f"{source}.fc2.bias", f"{target}/weigh/bias"),
        ]
    return (*rules, *dense)


def load_resnest(directory: str | Path, config: ResNetConfig, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the variables of a `ResNet` with `split` from a directory that holds the tensors of a timm state dict.

    The model may have fewer stages than the checkpoint; the top ones are not read.

    Args:
      config: of the model.
      variables: {"params": ..., "batch_stats": ...} of a `ResNet(config)`.

    Returns:
      The filled tree, see `rules.read`.

    Raises:
      WeightError: unreadable files, or a checkpoint that does not fit the model.
    """
    found, tensors = describe(directory), hub.read_tensors(directory)
    check_same(directory, found, config, ("split", "stem_stride", "stem_pool"))
    unread = resnet_unread(config, len(found.depths))
    return read(resnest_rules(config), tensors, variables, unread=unread, source=str(directory))
