"""Sizes and kinds of BERT (VisualBERT's, too), RoBERTa and XLM-R, and how transformers' config.json says them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from mmre_jax.attention import Dropped
from mmre_jax.cudnn import Implementation
from mmre_jax.encoders.blocks import check_activation, renamed

Kind = Literal["bert", "roberta"]
# transformers' model types, and what their encoders are here.
KINDS: dict[str, Kind] = {"bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "visual_bert": "bert"}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT; the defaults are BERT-base's, uncased.

    Attributes:
      vocab_size: rows of the word table, added marker tokens included.
      width: D.
      layers: number of layers.
      heads: attention heads a layer.
      mlp: width inside the feed-forward blocks.
      positions: rows of the position table; see `max_length`.
      types: rows of the token-type table.
      eps: of the layer normalisations.
      activation: of the feed-forward blocks.
      dropout: rate after the embeddings and after both halves of each layer.
      attention_dropout: rate on the attention weights.
      attention, attention_dropout_at: `implementation` and `dropout_at` of `mmre_jax.attention.attention`.
      init_std: standard deviation of initial tables and kernels, 0 for kernels by fan-in.
      kind: 'bert' numbers the positions of a sequence from 0 on, padding or not. 'roberta' (RoBERTa, XLM-R) gives each padding
        token the position `pad_id` and counts the others from the one behind it.
      pad_id: for 'roberta' alone, the padding token's id.
      position_offset: added to the positions of all tokens but RoBERTa's padding.
    """

    vocab_size: int = 30522
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    positions: int = 512
    types: int = 2
    eps: float = 1e-12
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    attention: Implementation = "xla"
    attention_dropout_at: Dropped = "weights"
    init_std: float = 0.02
    kind: Kind = "bert"
    pad_id: int = 1
    position_offset: int = 0

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.kind not in KINDS.values():
            raise ValueError(f"unknown kind of text encoder {self.kind!r}; known are bert, roberta")
        if self.width % self.heads:
            raise ValueError(f"BERT's width {self.width} does not divide into {self.heads} heads")

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence that the position table has rows for."""
        return self.positions - self.first_position

    @property
    def first_position(self) -> int:
        """The position of a sequence's first token."""
        return self.position_offset + (self.pad_id + 1 if self.kind == "roberta" else 0)

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any]) -> BertConfig:
        """The configuration that a transformers config.json, read as a dict, describes: of a BERT, a VisualBERT, a RoBERTa or an XLM-R.

        Raises:
          ValueError: another model type, other than absolute positions, or a missing key; it is named.
        """
        found = config.get("model_type")
        if found not in KINDS:
            raise ValueError(f"this is the configuration of a {found!r} model, expected model_type {', '.join(map(repr, KINDS))}")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError(f"position_embedding_type {config['position_embedding_type']!r} is not supported, only 'absolute'")
        if config.get("bypass_transformer"):
            raise ValueError("a VisualBERT whose regions bypass the transformer (bypass_transformer) is not built here")
        return cls(kind=KINDS[found], **renamed(config, _names(KINDS[found]), found))

    def to_transformers(self) -> dict[str, Any]:
        """The inverse of `from_transformers`; XLM-R, which computes the same, is called a RoBERTa.

        Raises:
          ValueError: for positions that transformers' BERT does not count so.
        """
        if self.position_offset:
            raise ValueError(f"transformers' encoders count positions from their own start, here they start {self.position_offset} later")
        model_type = next(name for name, kind in KINDS.items() if kind == self.kind)
        return {"model_type": model_type} | {theirs: getattr(self, ours) for ours, theirs in _names(self.kind).items()}


def _names(kind: Kind) -> dict[str, str]:
    """{our name: its name in transformers' configuration} of what both have."""
    names = {
        "vocab_size": "vocab_size",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "mlp": "intermediate_size",
        "positions": "max_position_embeddings",
        "types": "type_vocab_size",
        "eps": "layer_norm_eps",
        "activation": "hidden_act",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "init_std": "initializer_range",
    }
    return names | ({"pad_id": "pad_token_id"} if kind == "roberta" else {})
