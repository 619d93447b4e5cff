"""ViT checkpoints, CLIP vision towers, and full CLIP checkpoints (their vision tower) of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mmre_jax.encoders.vit_config import PHOTO, ViTConfig
from mmre_jax.weights.directory import open_directory
from mmre_jax.weights.rules import Rule, WeightError, dense_rules, norm_rules, read, upper_layers


def vit_rules(config: ViTConfig, prefix: str = "") -> tuple[Rule, ...]:
    """The table for the parameters of a `ViT(config)`, in its dialect's names.

    Args:
      config: says the dialect, and whether there are biases in the attention.
      prefix: 'vit.' or 'vision_model.' in checkpoints with a head or a text tower, else ''.
    """
    return _clip_rules(config, prefix) if config.dialect == "clip" else _vit_rules(config, prefix)


def load_vit(directory: str | Path, config: ViTConfig, params: Mapping[str, Any], *, interpolate_positions: bool = False) -> dict[str, Any]:
    """Fills the parameters of a `ViT` from a model directory.

    The model may have fewer layers than the checkpoint (the top ones are not read). Position tables of sequences other than
    the photo keep their initial values. A photo of another resolution than the checkpoint's is an error, unless
    `interpolate_positions` asks for its table to be resized (bicubic).

    Args:
      directory: with config.json and safetensors; model type 'vit', 'clip_vision_model' or 'clip'.
      config: of the model; dialect, heads, activation and eps, must be the checkpoint's.
      params: the `params` of a `ViT(config)`.
      interpolate_positions: whether the photo's position table may be resized.

    Returns:
      The filled tree, see `rules.read`.

    Raises:
      WeightError: unreadable files, or a checkpoint that does not fit the model.
    """
    pretrained, tensors = open_directory(directory, config, ("dialect", "style", "heads"))
    own = "vision_model." if config.dialect == "clip" else "vit."
    prefix = own if any(name.startswith(own) for name in tensors) else ""
    photo = next((s for s in config.sequences if s.name == PHOTO), None)
    if photo is not None and interpolate_positions:
        name = prefix + _POSITIONS[config.dialect]
        if name in tensors:
            tensors = {**tensors, name: resize_positions(tensors[name], config.grid(photo))}
    kept = tuple(f"embeddings/position_{s.name}" for s in config.sequences if s.name != PHOTO)
    unread = _unread(config, prefix, pretrained.layers) | keys_alone(vit_rules(config, prefix), config.layers - 1, params)
    return read(vit_rules(config, prefix), tensors, params, unread=unread, initialised=kept, source=str(directory))


def keys_alone(rules: tuple[Rule, ...], layer: int, params: Mapping[str, Any]) -> dict[str, str]:
    """Excuses, {name: reason}, for the parts that a layer lacks of which only keys and values are used; none for a whole layer."""
    part = params.get(f"layer_{layer}", {})
    there = {"/".join((f"layer_{layer}", *path)) for path in traverse_util.flatten_dict(part)}
    names = {rule.source.replace("{n}", str(layer)): rule.target.replace("{n}", str(layer)) for rule in rules if "layer_{n}" in rule.target}
    return {source: "only keys and values of this layer are used" for source, target in names.items() if part and target not in there}


def resize_positions(table: np.ndarray, side: int) -> np.ndarray:
    """Resizes a position table [..., 1 + n, D] of a square grid to [..., 1 + side * side, D], bicubic; CLS's row stays.

    Raises:
      WeightError: a table whose rows, less CLS's, make no square.
    """
    rows, width = table.shape[-2:]
    old = round((rows - 1) ** 0.5)
    if old * old != rows - 1:
        raise WeightError(f"a position table {list(table.shape)} is not CLS and a square grid, so it cannot be resized")
    if old == side:
        return table
    grid = jnp.asarray(table[..., 1:, :].reshape(old, old, width))
    resized = np.asarray(jax.image.resize(grid, (side, side, width), "bicubic")).reshape(*table.shape[:-2], side * side, width)
    return np.concatenate([table[..., :1, :], resized], axis=-2)


_POSITIONS = {"vit": "embeddings.position_embeddings", "clip": "embeddings.position_embedding.weight"}


def _vit_rules(config: ViTConfig, prefix: str) -> tuple[Rule, ...]:
    layer = f"{prefix}encoder.layer.{{n}}"
    attention = {f"{layer}.attention.attention.{name}": f"layer_{{n}}/attention/{name}" for name in ("query", "key", "value")}
    dense = {
        f"{layer}.attention.output.dense": "layer_{n}/attention/out",
        f"{layer}.intermediate.dense": "layer_{n}/mlp/up",
        f"{layer}.output.dense": "layer_{n}/mlp/down",
    }
    norms = {
        f"{layer}.layernorm_before": "layer_{n}/attention_norm",
        f"{layer}.layernorm_after": "layer_{n}/mlp_norm",
        f"{prefix}layernorm": "final_norm",
    }
    return (
        Rule(f"{prefix}embeddings.cls_token", "embeddings/cls", "squeeze2"),
        Rule(f"{prefix}{_POSITIONS['vit']}", f"embeddings/position_{PHOTO}", "squeeze"),
        Rule(f"{prefix}embeddings.patch_embeddings.projection.weight", "embeddings/patch/kernel", "conv"),
        Rule(f"{prefix}embeddings.patch_embeddings.projection.bias", "embeddings/patch/bias"),
        *dense_rules(attention, config.qkv_bias),
        *dense_rules(dense),
        *norm_rules(norms),
    )


def _clip_rules(config: ViTConfig, prefix: str) -> tuple[Rule, ...]:
    layer = f"{prefix}encoder.layers.{{n}}"
    attention = {
        f"{layer}.self_attn.q_proj": "layer_{n}/attention/query",
        f"{layer}.self_attn.k_proj": "layer_{n}/attention/key",
        f"{layer}.self_attn.v_proj": "layer_{n}/attention/value",
    }
    dense = {
        f"{layer}.self_attn.out_proj": "layer_{n}/attention/out",
        f"{layer}.mlp.fc1": "layer_{n}/mlp/up",
        f"{layer}.mlp.fc2": "layer_{n}/mlp/down",
    }
    norms = {
        f"{prefix}pre_layrnorm": "pre_norm",  # spelt so in the format
        f"{layer}.layer_norm1": "layer_{n}/attention_norm",
        f"{layer}.layer_norm2": "layer_{n}/mlp_norm",
        f"{prefix}post_layernorm": "final_norm",
    }
    return (
        Rule(f"{prefix}embeddings.class_embedding", "embeddings/cls"),
        Rule(f"{prefix}{_POSITIONS['clip']}", f"embeddings/position_{PHOTO}"),
        Rule(f"{prefix}embeddings.patch_embedding.weight", "embeddings/patch/kernel", "conv"),
        *dense_rules(attention, config.qkv_bias),
        *dense_rules(dense),
        *norm_rules(norms),
    )


def _unread(config: ViTConfig, prefix: str, pretrained_layers: int) -> dict[str, str]:
    if config.dialect == "clip":
        layers, norm = "encoder.layers.", "post_layernorm"
        unread = {
            f"{prefix}embeddings.position_ids": "a constant",
            "text_model.*": "the text tower",
            "text_projection.*": "the text tower's projection",
            "visual_projection.*": "the projection into CLIP's joint space is no part of the encoder",
            "logit_scale": "belongs to CLIP's loss",
        }
    else:
        layers, norm = "encoder.layer.", "layernorm"
        unread = {
            f"{prefix}pooler.*": "the pooler is no part of the encoder",
            f"{prefix}embeddings.mask_token": "belongs to masked-patch pre-training",
            "classifier.*": "a task's head",
        }
    if not config.final_norm:
        unread[f"{prefix}{norm}.*"] = "the model has no final norm"
    if all(s.name != PHOTO for s in config.sequences):
        unread[prefix + _POSITIONS[config.dialect]] = "the model reads no photo"
    return unread | upper_layers(f"{prefix}{layers}", config.layers, pretrained_layers)
