"""GPT-2 and GPT-1 checkpoints of transformers, read and written.

They keep query, key and value of a layer in one matrix, stored [in, out] unlike their other linear layers' counterparts in BERT; here they
are three, so the matrix is cut before the table is read, and joined after it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmre_jax.encoders.gpt import GptConfig, Kind
from mmre_jax.weights.directory import open_directory
from mmre_jax.weights.rules import Rule, WeightError, norm_rules, read, upper_layers, write

PREFIX = "transformer."  # in checkpoints with a head
_CONSTANTS = (".attn.bias", ".attn.masked_bias", "position_ids")  # the causal mask and its like, in older checkpoints
_PARTS = ("query", "key", "value")
_TABLES = {"gpt2": ("wte", "wpe"), "gpt": ("tokens_embed", "positions_embed")}


def gpt_rules(kind: Kind, prefix: str = "") -> tuple[Rule, ...]:
    """The table for the parameters of a `Gpt` of that kind, of tensors as `split` gives them.

    Args:
      prefix: PREFIX in checkpoints with a head, '' in those of the bare model.
    """
    words, positions = _TABLES[kind]
    layer = f"{prefix}h.{{n}}"
    dense = {f"{layer}.attn.c_attn.{part}": f"layer_{{n}}/attention/{part}" for part in _PARTS} | {
        f"{layer}.attn.c_proj": "layer_{n}/attention/out",
        f"{layer}.mlp.c_fc": "layer_{n}/mlp/up",
        f"{layer}.mlp.c_proj": "layer_{n}/mlp/down",
    }
    norms = {f"{layer}.ln_1": "layer_{n}/attention_norm", f"{layer}.ln_2": "layer_{n}/mlp_norm"}
    if kind == "gpt2":
        norms[f"{prefix}ln_f"] = "norm"
    return (
        Rule(f"{prefix}{words}.weight", "word", "rows"),
        Rule(f"{prefix}{positions}.weight", "position"),
        *(Rule(f"{source}.weight", f"{target}/kernel") for source, target in dense.items()),
        *(Rule(f"{source}.bias", f"{target}/bias") for source, target in dense.items()),
        *norm_rules(norms),
    )


def split(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with each `c_attn` in three: `c_attn.query`, `c_attn.key`, `c_attn.value`.

    Raises:
      WeightError: one that does not divide by three; it is named.
    """
    found = {}
    for name, tensor in tensors.items():
        start, joint, end = name.rpartition("attn.c_attn.")
        if not joint:
            found[name] = tensor
            continue
        if not tensor.ndim or tensor.shape[-1] % 3:
            raise WeightError(f"tensor {name} {list(tensor.shape)} does not hold query, key and value side by side")
        found |= {f"{start}{joint}{part}.{end}": value for part, value in zip(_PARTS, np.split(tensor, 3, axis=-1), strict=True)}
    return found


def join(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `split`."""
    found = {}
    for name, tensor in tensors.items():
        head, _, last = name.rpartition(".")
        start, _, part = head.rpartition(".")
        if part not in _PARTS:
            found[name] = tensor
        elif part == _PARTS[0]:
            found[f"{start}.{last}"] = np.concatenate([tensors[f"{start}.{each}.{last}"] for each in _PARTS], axis=-1)
    return found


def load_gpt(directory: str | Path, config: GptConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the parameters of a `Gpt` from a model directory.

    The model may have fewer layers than the checkpoint (the top ones are not read) and more words (rows for added tokens come last and keep
    their initial values).

    Args:
      directory: with config.json and safetensors.
      config: of the model; kind, heads, activation and eps, which no shape shows, must be the checkpoint's.
      params: the `params` of a `Gpt(config)`.

    Returns:
      The filled tree, see `rules.read`.

    Raises:
      WeightError: unreadable files, or a checkpoint that does not fit the model.
    """
    pretrained, tensors = open_directory(directory, config, ("kind", "heads", "activation", "eps"))
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tensors) else ""
    unread = {
        "lm_head.*": "the head of pre-training, which is the word table",
        "multiple_choice_head.*": "a task's head",
        "score.*": "a task's head",
        **upper_layers(f"{prefix}h.", config.layers, pretrained.layers),
    }
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(_CONSTANTS)}
    return read(gpt_rules(config.kind, prefix), split(tensors), params, unread=unread, source=str(directory))


def write_gpt(params: Mapping[str, Any], kind: Kind, prefix: str = "") -> dict[str, np.ndarray]:
    """The tensors, by transformers' names, of the parameters of a `Gpt`: what `load_gpt` reads."""
    return join(write(gpt_rules(kind, prefix), params))
