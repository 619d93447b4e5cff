"""What VisualBERT adds to a BERT, from a model directory: the projection of regions, their segment and their position."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmre_jax.encoders.bert_config import BertConfig
from mmre_jax.weights import hub
from mmre_jax.weights.bert import prefix_of
from mmre_jax.weights.rules import Rule, dense_rules, read

SEGMENT, POSITION = 1, 0  # the rows of the published tables that every region has


def load_regions(directory: str | Path, config: BertConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the parameters of a `RegionEmbeddings` from the directory that the stream's BERT is read from.

    Of a VisualBERT all are read. Of another one the segment and the position of regions start, as the published model's do before its
    training, as the words' second segment and first position (transformers: `special_visual_initialize`); a RoBERTa has one segment. The
    projection stays as it is.

    Args:
      directory: with config.json and weights.
      config: of the stream's BERT.
      params: the `params` of a `RegionEmbeddings(config)`.

    Raises:
      WeightError: unreadable files, or a VisualBERT of regions with another number of features than the image encoder gives.
    """
    described, tensors = hub.read_directory(directory)
    before = f"{prefix_of(tensors)}embeddings."
    if described.get("model_type") != "visual_bert":
        segment = tensors[f"{before}token_type_embeddings.weight"][min(SEGMENT, config.types - 1)]
        position = tensors[f"{before}position_embeddings.weight"][config.first_position]
        return {**params, "type": np.asarray(segment, np.float32), "position": np.asarray(position, np.float32)}
    rules = (
        *dense_rules({f"{before}visual_projection": "project"}),
        Rule(f"{before}visual_token_type_embeddings.weight", "type"),
        Rule(f"{before}visual_position_embeddings.weight", "position"),
    )
    own = {name: x for name, x in tensors.items() if name.startswith(f"{before}visual_")}
    for rule, row in zip(rules[-2:], (SEGMENT, POSITION), strict=True):
        if rule.source in own:
            own[rule.source] = own[rule.source][row]
    return read(rules, own, params, unread={}, source=str(directory))
