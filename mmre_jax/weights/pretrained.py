"""Encoders from directories of weights, as a configuration names them: sizes into the configuration, tensors into the variables."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.data.pictures import PicturePlan
from mmre_jax.data.whole_words import KIND as WHOLE
from mmre_jax.declare import SettingError
from mmre_jax.encoders.from_config import (
    CAUSAL,
    VECTORS,
    bert_config,
    described_text,
    pyramid_config,
    resnet_config,
    text_config,
    vgg_config,
    vit_config,
)
from mmre_jax.encoders.gpt import GptConfig
from mmre_jax.encoders.vit import ViTConfig
from mmre_jax.systems.faster_rcnn import rcnn_config
from mmre_jax.weights import bert, detectors, gpt, hub, resnest, resnet, vectors, vgg, visualbert, vit

T = TypeVar("T")
TEXT_SIZES = ("width", "layers", "heads", "mlp", "positions", "types", "eps", "activation", "kind", "pad_id")
VISION_SIZES = ("width", "layers", "heads", "mlp", "patch", "side", "eps", "activation", "dialect")
CONVOLUTION_SIZES = ("depths", "stem", "stem_kernel", "stem_stride", "stem_pool", "bottleneck", "stride_first")
FOLLOWING = (
    "eps",
    "activation",
    "types",
    "positions",
    "dialect",
    "kind",
    "pad_id",
    "stem_stride",
    "stem_pool",
    "bottleneck",
    "stride_first",
    "norm_eps",
    "groups",
    "pyramid_norm",
)
NEEDED = ("width", "layers", "heads", "mlp", "positions")  # of text
VISION_NEEDED = {
    "vit": ("width", "layers", "heads", "mlp", "patch", "side"),
    "resnet": ("depths", "stem", "side"),
    "resnest": ("depths", "stem", "side"),
    "rcnn": ("depths", "stem", "pyramid_width", "side"),
    "vgg": ("depths", "stem", "side"),
}


def resolve(config: ConfigDict) -> ConfigDict:
    """A locked copy of a configuration in which every size is written out.

    Where a section names `weights`, a zero (or empty depths) is replaced by what the directory says, and a number that contradicts it
    is an error; fewer layers or stages are allowed: the lowest ones are used. What is in FOLLOWING always follows the weights.

    Raises:
      WeightError: for weights that cannot be read or are of another kind, and for a size that contradicts them.
      ValueError: for a size that is missing, and for word vectors where none are read.
    """
    config = ConfigDict(copy.deepcopy(config.to_dict()))
    for section in ("text", "vision"):
        if storage.is_remote(directory := config[section].weights):
            raise hub.WeightError(f"{section}.weights={directory}: weights are read from a disk: copy them there first")
    if config.text.weights:
        found = dataclasses.asdict(_described(described_text, "text", config.text.weights))
        _fill("text", config.text, {name: found[name] for name in TEXT_SIZES if name in found})
    if config.text.vectors:
        _fill_width(config.text)
    if config.vision.weights:
        _fill("vision", config.vision, _vision_sizes(config.vision))
    if config.text.kind == VECTORS and not config.text.width:
        raise ValueError("text.width unset: give it, or --config.text.vectors=FILE")
    for section, names in {"text": () if config.text.kind == VECTORS else NEEDED, "vision": VISION_NEEDED[config.vision.kind]}.items():
        if unset := [name for name in names if not config[section][name]]:
            raise ValueError(f"{', '.join(f'{section}.{name}' for name in unset)} unset: give sizes, or --config.{section}.weights=DIR")
    if config.text.kind == VECTORS:  # which have no positions
        return config.lock()
    longest = text_config(config.text, config.text.vocab_size).max_length
    if config.text.max_tokens > longest:
        raise ValueError(f"text.max_tokens={config.text.max_tokens} exceeds the text encoder's {longest} positions")
    return config.lock()


def _fill_width(text: ConfigDict) -> None:
    """Section `text` with the width of the vectors in its file, where it does not say one."""
    if text.kind != VECTORS:
        raise SettingError(f"text.vectors={text.vectors}: the text encoder reads no word vectors, text.kind={text.kind!r}")
    if text.tokenizer not in (WHOLE, "word"):
        raise SettingError(f"text.vectors={text.vectors}: a file has vectors of whole words: text.tokenizer={WHOLE}, not {text.tokenizer}")
    try:
        found = vectors.width_of(text.vectors)
    except hub.WeightError as error:
        raise hub.WeightError(f"text.vectors={error}") from error
    if text.width and text.width != found:
        raise hub.WeightError(f"text.width={text.width}, but {text.vectors} has vectors of {found} numbers (0 takes what the file has)")
    text.width = found


def _described(describe: Callable[[Mapping[str, Any]], T], section: str, directory: str) -> T:
    try:
        return describe(hub.read_config(directory))
    except ValueError as error:  # a WeightError is one
        raise hub.WeightError(f"{section}.weights={directory}: {error}") from error


def _vision_sizes(vision: ConfigDict) -> dict[str, Any]:
    """What the directory of an image encoder says about its sizes."""
    if vision.kind == "vit":
        found = _described(ViTConfig.from_transformers, "vision", vision.weights)
        style = {"eps": found.style.eps, "activation": found.style.activation, "side": found.sequences[0].side}
        values = dataclasses.asdict(found) | style
        return {name: values[name] for name in VISION_SIZES}
    if vision.kind == "rcnn":
        return _detector_sizes(vision)
    if vision.kind == "vgg":
        return _vgg_sizes(vision.weights)
    try:
        found = resnet.describe(vision.weights)
    except hub.WeightError as error:
        raise hub.WeightError(f"vision.weights={vision.weights}: {error}") from error
    if found.split != (vision.kind == "resnest"):
        raise hub.WeightError(
            f"vision.weights={vision.weights} holds a {'ResNeSt' if found.split else 'ResNet'}, vision.kind={vision.kind}"
        )
    return {name: getattr(found, name) for name in CONVOLUTION_SIZES} | {"norm_eps": found.eps}


def _detector_sizes(vision: ConfigDict) -> dict[str, Any]:
    """What a detector says about the sizes of its backbone and pyramid, or a ResNet about its own, on which a pyramid starts fresh.

    Raises:
      WeightError: one that cannot be read, whose norms are of another kind, or of which a stage is left out: its levels would be others.
    """
    where = f"vision.weights={vision.weights}"
    try:
        alone = detectors.is_resnet(vision.weights)
        found = None if alone else detectors.describe_pyramid(vision.weights)
        backbone = resnet.describe(vision.weights) if found is None else found.backbone
    except hub.WeightError as error:
        raise hub.WeightError(f"{where}: {error}") from error
    if backbone.split:
        raise hub.WeightError(f"{where} holds a ResNeSt, vision.kind={vision.kind}")
    if (backbone.norm == "group") != (vision.norm == "group"):
        fitting = "group" if backbone.norm == "group" else "frozen or batch"
        raise hub.WeightError(f"{where} holds a detector whose norms are of kind {backbone.norm}: set vision.norm={fitting}")
    if vision.depths and tuple(vision.depths) != backbone.depths:
        raise hub.WeightError(f"vision.depths={tuple(vision.depths)}, but {vision.weights} has {backbone.depths} (() takes them)")
    sizes = {name: getattr(backbone, name) for name in CONVOLUTION_SIZES} | {"norm_eps": backbone.eps}
    groups = {"groups": backbone.groups} if backbone.norm == "group" else {}
    pyramid = {} if found is None else {"pyramid_width": found.width, "pyramid_norm": found.normed}
    return {**sizes, **groups, **pyramid}


def _vgg_sizes(directory: str) -> dict[str, Any]:
    """Depths and stem of a directory's VGG.

    Raises:
      WeightError: unreadable files, tensors of no VGG, or one that is not as wide as `vgg_config` makes it.
    """
    found = vgg.describe_vgg(hub.read_tensors(directory), source=f"vision.weights={directory}")
    sizes = {"depths": tuple(map(len, found.stages)), "stem": found.stages[0][0]}
    if found.stages != vgg_config(ConfigDict({"kind": "vgg", **sizes})).stages:
        raise hub.WeightError(f"vision.weights={directory} holds a VGG whose stages are {found.stages} wide, which is not built here")
    return sizes


def _fill(section: str, config: ConfigDict, found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        given = config[name]
        lower = (name == "layers" and given < value) or (name == "depths" and given == value[: len(given)])
        if given and name not in FOLLOWING and given != value and not lower:
            raise hub.WeightError(f"{section}.{name}={given}, but {config.weights} has {value} (0 takes what the weights have)")
        if not given or name in FOLLOWING:
            config[name] = value


def load(config: ConfigDict, plan: PicturePlan, variables: Mapping[str, Any]) -> dict[str, Any]:
    """A system's variables with its parts `text` and `vision` filled from the directories that a resolved configuration names, and of a
    single stream over words and regions `regions` with the text's.

    Args:
      plan: of the system; its slots are the sequences of an image encoder that reads pictures as sequences.
      variables: initial ones, {"params": ..., "batch_stats": ...} where there are batch statistics; what no directory has keeps its
        values.

    Returns:
      The same tree, new where filled.
    """
    variables = dict(variables)
    params = variables["params"] = dict(variables["params"])
    if config.text.weights:
        params["text"] = _load_text(config.text, params["text"])
        if "regions" in params:
            sizes = bert_config(config.text, params["text"]["embeddings"]["word"].shape[0])
            params["regions"] = visualbert.load_regions(config.text.weights, sizes, params["regions"])
    if config.vision.weights and config.system.name == detectors.SYSTEM:
        classes = params["head"]["classes"]["bias"].shape[0]
        return variables | detectors.load_detector(config.vision.weights, rcnn_config(config, classes), variables)
    if not config.vision.weights or "vision" not in params:
        return variables
    if config.vision.kind == "vit":
        layers = sum(name.startswith("layer_") for name in params["vision"])
        params["vision"] = vit.load_vit(config.vision.weights, vit_config(config.vision, plan, layers), params["vision"])
        return variables
    if config.vision.kind == "vgg":
        params["vision"] = vgg.load_vgg(config.vision.weights, vgg_config(config.vision), params["vision"])
        return variables
    own = {name: tree["vision"] for name, tree in variables.items() if "vision" in tree}
    if config.vision.kind == "rcnn" and detectors.is_resnet(config.vision.weights):
        filled = detectors.load_backbone(config.vision.weights, resnet_config(config.vision), own)
    elif config.vision.kind == "rcnn":
        filled = detectors.load_pyramid(config.vision.weights, pyramid_config(config.vision), own)
    else:
        stages = sum(name.startswith("stage_") for name in params["vision"])
        read = resnest.load_resnest if config.vision.kind == "resnest" else resnet.load_resnet
        filled = read(config.vision.weights, resnet_config(config.vision, stages), own)
    return variables | {name: {**variables[name], "vision": part} for name, part in filled.items()}


def _load_text(text: ConfigDict, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a text encoder, filled from the directory that section `text` names."""
    causal = text.kind in CAUSAL
    words = params["word"] if causal else params["embeddings"]["word"]
    sizes = text_config(text, words.shape[0])
    return gpt.load_gpt(text.weights, sizes, params) if isinstance(sizes, GptConfig) else bert.load_bert(text.weights, sizes, params)
