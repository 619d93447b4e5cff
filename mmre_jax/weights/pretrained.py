"""Encoders from transformers directories, as a configuration names them: sizes into the configuration, tensors into the parameters."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from mmre_jax.data.pictures import PicturePlan
from mmre_jax.encoders.bert import BertConfig
from mmre_jax.encoders.from_config import bert_config, vit_config
from mmre_jax.encoders.vit import ViTConfig
from mmre_jax.weights import bert, hub, vit

T = TypeVar("T", BertConfig, ViTConfig)
TEXT_SIZES = ("width", "layers", "heads", "mlp", "positions", "types", "eps", "activation")
VISION_SIZES = ("width", "layers", "heads", "mlp", "patch", "side", "eps", "activation", "dialect")
NEEDED = {"text": ("width", "layers", "heads", "mlp", "positions"), "vision": ("width", "heads", "mlp", "patch", "side")}


def resolve(config: ConfigDict) -> ConfigDict:
    """A locked copy of a configuration in which every size is written out.

    Where a section names `weights`, a zero is replaced by what the directory's config.json says, and a number that contradicts it is
    an error; fewer layers are allowed: the lowest ones are used. eps, activation, types and dialect always follow the weights.

    Raises:
      WeightError: for weights that cannot be read or are of another kind, and for a size that contradicts them.
      ValueError: for a size that is missing.
    """
    config = ConfigDict(copy.deepcopy(config.to_dict()))
    if config.text.weights:
        found = dataclasses.asdict(_described(BertConfig, "text", config.text.weights))
        _fill("text", config.text, {name: found[name] for name in TEXT_SIZES})
    if config.vision.weights:
        vision = _described(ViTConfig, "vision", config.vision.weights)
        found = {**dataclasses.asdict(vision), "eps": vision.style.eps, "activation": vision.style.activation}
        found["side"] = vision.sequences[0].side
        _fill("vision", config.vision, {name: found[name] for name in VISION_SIZES})
    for section, names in NEEDED.items():
        if unset := [name for name in names if not config[section][name]]:
            raise ValueError(f"{', '.join(f'{section}.{name}' for name in unset)} unset: give sizes, or --config.{section}.weights=DIR")
    if config.text.max_tokens > config.text.positions:
        raise ValueError(f"text.max_tokens={config.text.max_tokens} exceeds the text encoder's {config.text.positions} positions")
    return config.lock()


def _described(kind: type[T], section: str, directory: str) -> T:
    found = hub.read_config(directory)
    try:
        return kind.from_transformers(found)
    except ValueError as error:
        raise hub.WeightError(f"{section}.weights={directory}: {error}") from error


def _fill(section: str, config: ConfigDict, found: Mapping[str, Any]) -> None:
    follow = ("eps", "activation", "types", "dialect")
    for name, value in found.items():
        given = config[name]
        if given and name not in follow and given != value and not (name == "layers" and given < value):
            raise hub.WeightError(f"{section}.{name}={given}, but {config.weights} has {value} (0 takes what the weights have)")
        if not given or name in follow:
            config[name] = value


def load(config: ConfigDict, plan: PicturePlan, params: Mapping[str, Any]) -> dict[str, Any]:
    """A system's parameters with its parts `text` and `vision` filled from the directories that a resolved configuration names.

    Args:
      plan: of the system; its slots are the image encoder's sequences.
      params: initial parameters; what no directory has keeps its values.
    """
    params = dict(params)
    if config.text.weights:
        sizes = bert_config(config.text, params["text"]["embeddings"]["word"].shape[0])
        params["text"] = bert.load_bert(config.text.weights, sizes, params["text"])
    if config.vision.weights and "vision" in params:
        layers = sum(name.startswith("layer_") for name in params["vision"])
        params["vision"] = vit.load_vit(config.vision.weights, vit_config(config.vision, plan, layers), params["vision"])
    return params
