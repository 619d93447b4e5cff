"""ResNet checkpoints of torchvision and transformers; also what their tables share with ResNeSt's.

Trees are a module's variables: parameters below 'params', batch statistics (all of a frozen norm) below 'batch_stats'.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.weights import hub
from mmre_jax.weights.directory import check_same
from mmre_jax.weights.rules import Rule, WeightError, read

Names = Literal["torchvision", "transformers"]

COUNTED = "a count of training steps, of no use with a fixed momentum"  # why num_batches_tracked is not read
# A path '{}/...' is completed with the collection that its tensor is kept in.
_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def resnet_rules(config: ResNetConfig, names: Names = "torchvision", prefix: str = "", part: str = "") -> tuple[Rule, ...]:
    """The table for the variables of a `ResNet(config)` without `split`.

    Args:
      names: whose keys, torchvision's or transformers'.
      prefix: of the keys, such as 'image_model.resnet.' in a released state dict.
      part: where the variables are in their collections, 'vision/' for a system's part of that name.

    Raises:
      WeightError: for a group normalisation, which no checkpoint has.
    """
    if names == "transformers":
        stem, block, unit = "embedder.embedder", "encoder.stages.{}.layers.{{n}}", "layer.{}"
        layers = {name: (f"{unit.format(k)}.convolution", f"{unit.format(k)}.normalization") for k, name in enumerate(_units(config))}
        layers["shortcut"] = ("shortcut.convolution", "shortcut.normalization")
        stems, first = {"stem_0": (f"{stem}.convolution", f"{stem}.normalization")}, 0
    else:
        block, first = "layer{}.{{n}}", 1
        layers = {name: (f"conv{k}", f"bn{k}") for k, name in enumerate(_units(config), 1)}
        layers["shortcut"] = ("downsample.0", "downsample.1")
        stems = {"stem_0": ("conv1", "bn1")}
    units = stems | block_units(config, block, first, layers)
    return unit_rules({part + target: (prefix + conv, prefix + norm) for target, (conv, norm) in units.items()}, config)


def block_units(config: ResNetConfig, block: str, first: int, units: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The units of every stage's blocks, {path here: (convolution there, norm there)}.

    Args:
      block: name of a stage's blocks, with '{}' for the stage and '{{n}}' for the block.
      first: number of the first stage there.
      units: of one block, as in the result.
    """
    return {
        f"stage_{stage}/block_{{n}}/{name}": (f"{start}.{conv}", f"{start}.{norm}")
        for stage, start in ((stage, block.format(stage + first)) for stage in range(len(config.depths)))
        for name, (conv, norm) in units.items()
    }


def unit_rules(units: Mapping[str, tuple[str, str]], config: ResNetConfig) -> tuple[Rule, ...]:
    """Rules for units of a convolution and a norm, {path here: (convolution there, norm there)}.

    Raises:
      WeightError: for a group normalisation.
    """
    if config.norm == "group":
        raise WeightError("published weights have batch normalisation: vision.norm is 'frozen', 'batch' or 'global' where they are read")
    rules = []
    for path, (conv, norm) in units.items():
        rules.append(Rule(f"{conv}.weight", f"params/{path}/conv/kernel", "conv"))
        for source, target in _NORM.items():
            held = "params" if config.norm != "frozen" and target in ("scale", "bias") else "batch_stats"
            rules.append(Rule(f"{norm}.{source}", f"{held}/{path}/norm/{target}"))
    return tuple(rules)


def resnet_unread(config: ResNetConfig, stages: int, names: Names = "torchvision", prefix: str = "") -> dict[str, str]:
    """{pattern: reason} for the tensors of a checkpoint with that many `stages`, a ResNeSt's included, that the encoder never reads."""
    upper = range(len(config.depths), stages)
    if names == "transformers":
        start, head, classifier = f"{prefix}encoder.stages.", 0, "classifier.*"
    else:
        start, head, classifier = f"{prefix}layer", 1, f"{prefix}fc.*"
    return {
        f"{prefix}*.num_batches_tracked": COUNTED,
        classifier: "the classifier of the pre-training's classes",
        **{f"{start}{stage + head}.*": f"the model has {len(config.depths)} stages" for stage in upper},
    }


def describe(directory: str | Path) -> ResNetConfig:
    """The sizes of the checkpoint in a directory: as its config.json says, or as the shapes in a bare state dict say.

    Raises:
      WeightError: unreadable files, or no ResNet or ResNeSt that can be built.
    """
    if not _is_transformers(directory):
        return describe_tensors(hub.read_tensors(directory), source=str(directory))
    try:
        return ResNetConfig.from_transformers(hub.read_config(directory))
    except ValueError as error:
        raise WeightError(f"{directory}: {error}") from error


def describe_tensors(tensors: Mapping[str, np.ndarray], prefix: str = "", *, source: str = "the checkpoint") -> ResNetConfig:
    """The sizes that the shapes of a state dict with torchvision's (a ResNeSt: timm's) keys say, with a frozen norm.

    No shape shows where strides are: they are taken to be torchvision's.

    Raises:
      WeightError: the stem or a first stage is missing, or is none of a ResNet that can be built.
    """
    split = f"{prefix}layer1.0.conv2.fc1.weight" in tensors
    kernel, last = (f"{prefix}conv1.{name}" for name in (("0.weight", "6.weight") if split else ("weight", "weight")))
    depths = _depths(tensors, prefix)
    if not depths or any(name not in tensors or tensors[name].ndim != 4 for name in (kernel, last)):
        raise WeightError(f"{source} has no stem {kernel} followed by {prefix}layer1.0: no ResNet, or not under torchvision's keys")
    try:
        return ResNetConfig(
            depths=depths,
            stem=tensors[last].shape[0],
            stem_kernel=tensors[kernel].shape[-1],
            bottleneck=f"{prefix}layer1.0.conv3.weight" in tensors,
            split=split,
        )
    except ValueError as error:
        raise WeightError(f"{source}: {error}") from error


def load_resnet(directory: str | Path, config: ResNetConfig, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the variables of a `ResNet` without `split` from a directory.

    The model may have fewer stages than the checkpoint; the top ones are not read.

    Args:
      directory: transformers' (config.json and tensors), or the tensors of a torchvision state dict alone.
      config: of the model; where its strides are, which no tensor's shape shows, must be as in a config.json.
      variables: {"params": ..., "batch_stats": ...} of a `ResNet(config)`.

    Returns:
      The filled tree, see `rules.read`.

    Raises:
      WeightError: unreadable files, or a checkpoint that does not fit the model.
    """
    names: Names = "transformers" if _is_transformers(directory) else "torchvision"
    found, tensors = describe(directory), hub.read_tensors(directory)
    check_same(directory, found, config, ("split", "bottleneck", "stride_first", "stem_stride", "stem_pool"))
    prefix = "resnet." if any(name.startswith("resnet.") for name in tensors) else ""
    unread = resnet_unread(config, len(found.depths), names, prefix)
    return read(resnet_rules(config, names, prefix), tensors, variables, unread=unread, source=str(directory))


def _is_transformers(directory: str | Path) -> bool:
    """Whether a config.json names a model type; timm's, beside a bare state dict, names none."""
    return (Path(directory) / "config.json").is_file() and "model_type" in hub.read_config(directory)


def _units(config: ResNetConfig) -> tuple[str, ...]:
    return ("reduce", "spatial", "expand") if config.bottleneck else ("first", "second")


def _depths(tensors: Mapping[str, np.ndarray], prefix: str) -> tuple[int, ...]:
    """Blocks of the stages layer1, layer2, ... up to the first one that is missing."""
    depths: list[int] = []
    while blocks := {name.split(".")[0] for name in _below(tensors, f"{prefix}layer{len(depths) + 1}.")}:
        depths.append(len(blocks))
    return tuple(depths)


def _below(tensors: Mapping[str, np.ndarray], start: str) -> list[str]:
    return [name.removeprefix(start) for name in tensors if name.startswith(start)]
