"""BERT, RoBERTa and XLM-R checkpoints of transformers and sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmre_jax.encoders.bert import BertConfig
from mmre_jax.weights.directory import open_directory
from mmre_jax.weights.rules import Rule, dense_rules, norm_rules, read, upper_layers


def bert_rules(prefix: str = "", *, norm: tuple[str, str] = ("weight", "bias"), truncate_positions: bool = False) -> tuple[Rule, ...]:
    """The table for the parameters of `Bert`, of either kind.

    Args:
      prefix: see `prefix_of`.
      norm: the names of a LayerNorm's scale and bias; ('gamma', 'beta') in checkpoints converted from TensorFlow.
      truncate_positions: whether the position table may be cut to the model's length.
    """
    tables = (
        Rule(f"{prefix}embeddings.word_embeddings.weight", "embeddings/word", "rows"),
        Rule(f"{prefix}embeddings.position_embeddings.weight", "embeddings/position", "truncate" if truncate_positions else "same"),
        Rule(f"{prefix}embeddings.token_type_embeddings.weight", "embeddings/type"),
    )
    layer = f"{prefix}encoder.layer.{{n}}"
    dense = {
        f"{layer}.attention.self.query": "layer_{n}/attention/query",
        f"{layer}.attention.self.key": "layer_{n}/attention/key",
        f"{layer}.attention.self.value": "layer_{n}/attention/value",
        f"{layer}.attention.output.dense": "layer_{n}/attention/out",
        f"{layer}.intermediate.dense": "layer_{n}/mlp/up",
        f"{layer}.output.dense": "layer_{n}/mlp/down",
    }
    norms = {
        f"{prefix}embeddings.LayerNorm": "embeddings/norm",
        f"{layer}.attention.output.LayerNorm": "layer_{n}/attention_norm",
        f"{layer}.output.LayerNorm": "layer_{n}/mlp_norm",
    }
    return (*tables, *dense_rules(dense), *norm_rules(norms, norm))


def prefix_of(tensors: Mapping[str, Any]) -> str:
    """What begins the encoder's names: 'bert.', 'visual_bert.' or 'roberta.' in checkpoints with a head (XLM-R's also say 'roberta.'), ''
    in those of the bare encoder."""
    return next((start for start in ("bert.", "visual_bert.", "roberta.") if any(name.startswith(start) for name in tensors)), "")


def load_bert(directory: str | Path, config: BertConfig, params: Mapping[str, Any], *, truncate_positions: bool = False) -> dict[str, Any]:
    """Fills the parameters of a `Bert` from a model directory.

    The model may have fewer layers than the checkpoint (the top ones are not read), more words (rows for added tokens come
    last and keep their initial values) and, where `truncate_positions` says so, fewer positions.

    Args:
      directory: with config.json and safetensors.
      config: of the model; kind, heads, activation, eps and pad_id, which no shape shows, must be the checkpoint's.
      params: the `params` of a `Bert(config)`.

    Returns:
      The filled tree, see `rules.read`.

    Raises:
      WeightError: unreadable files, or a checkpoint that does not fit the model.
    """
    pretrained, tensors = open_directory(directory, config, ("kind", "heads", "activation", "eps", "pad_id"))
    prefix = prefix_of(tensors)
    norm = ("gamma", "beta") if f"{prefix}embeddings.LayerNorm.gamma" in tensors else ("weight", "bias")
    unread = {
        f"{prefix}pooler.*": "the pooler is no part of the encoder",
        f"{prefix}embeddings.position_ids": "a constant",
        f"{prefix}embeddings.visual_*": "of a VisualBERT's regions, which are no part of the encoder (visualbert.py)",
        "cls.*": "the heads of pre-training",
        "lm_head.*": "the head of pre-training",
        "classifier.*": "a task's head",
        "qa_outputs.*": "a task's head",
        **upper_layers(f"{prefix}encoder.layer.", config.layers, pretrained.layers),
    }
    rules = bert_rules(prefix, norm=norm, truncate_positions=truncate_positions)
    return read(rules, tensors, params, unread=unread, source=str(directory))
