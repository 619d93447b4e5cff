"""BERT's encoder (Devlin et al. 2019): transformers' `BertModel` without the pooler.

Shape letters: B batch, L tokens, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.attention import Implementation, MultiHeadAttention
from mmre_jax.encoders.blocks import TABLE_STD, FeedForward, check_activation, layer_norm


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT; the defaults are BERT-base's, uncased.

    Attributes:
      vocab_size: rows of the word table, added marker tokens included.
      width: D.
      layers: number of layers.
      heads: attention heads a layer.
      mlp: width inside the feed-forward blocks.
      positions: rows of the position table, the longest sequence possible.
      types: rows of the token-type table.
      eps: of the layer normalisations.
      activation: of the feed-forward blocks.
      dropout: rate after the embeddings and after both halves of each layer.
      attention_dropout: rate on the attention weights.
      init_std: standard deviation of initial tables and kernels, 0 for kernels by fan-in.
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
    init_std: float = 0.02

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.width % self.heads:
            raise ValueError(f"BERT's width {self.width} does not divide into {self.heads} heads")

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any]) -> BertConfig:
        """The configuration that a transformers config.json, read as a dict, describes.

        Raises:
          ValueError: another model type, other than absolute positions, or a missing key; it is named.
        """
        found = config.get("model_type")
        if found != "bert":
            raise ValueError(f"this is the configuration of a {found!r} model, expected model_type 'bert'")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError(f"position_embedding_type {config['position_embedding_type']!r} is not supported, only 'absolute'")
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
        missing = sorted(set(names.values()) - set(config))
        if missing:
            raise ValueError(f"the BERT configuration lacks {', '.join(missing)}")
        return cls(**{ours: config[theirs] for ours, theirs in names.items()})


class BertLayer(nn.Module):
    """One post-LayerNorm transformer layer, [B, L, D] -> [B, L, D]."""

    config: BertConfig
    dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, *, train: bool) -> jax.Array:
        """x [B, L, D], mask bool as in `MultiHeadAttention`."""
        config = self.config
        drop = nn.Dropout(config.dropout, deterministic=not train)
        attend = MultiHeadAttention(
            config.width,
            config.heads,
            config.attention_dropout,
            self.dtype,
            init_std=config.init_std,
            implementation=self.implementation,
            name="attention",
        )
        mixed = drop(attend(x, x, mask, train=train))
        x = layer_norm(x + mixed, config.eps, self.dtype, "attention_norm")
        hidden = drop(FeedForward(config.mlp, config.activation, self.dtype, config.init_std, name="mlp")(x))
        return layer_norm(x + hidden, config.eps, self.dtype, "mlp_norm")


class BertEmbeddings(nn.Module):
    """Words + positions + token types, normalised: ids [B, L] -> [B, L, D]. The tables are `word`, `position`, `type`."""

    config: BertConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, ids: jax.Array, types: jax.Array, positions: jax.Array, *, train: bool) -> jax.Array:
        """ids, types int [B, L]; positions int [B, L] or [1, L]."""
        config = self.config
        init = nn.initializers.normal(config.init_std or TABLE_STD)
        words = self.param("word", init, (config.vocab_size, config.width))
        places = self.param("position", init, (config.positions, config.width))
        kinds = self.param("type", init, (config.types, config.width))
        # `take` gives NaN for an index outside its table, where indexing would silently give the last row.
        x = jnp.take(words, ids, axis=0) + jnp.take(kinds, types, axis=0)
        x = x + jnp.broadcast_to(jnp.take(places, positions, axis=0), x.shape)
        return nn.Dropout(config.dropout, deterministic=not train)(layer_norm(x, config.eps, self.dtype, "norm"))


class Bert(nn.Module):
    """The encoder. Hidden states are also sown as "hidden", attention weights as "attention", where "intermediates" is mutable."""

    config: BertConfig
    dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(
        self,
        ids: jax.Array,
        mask: jax.Array | None,
        types: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        train: bool,
    ) -> tuple[jax.Array, ...]:
        """Encodes a batch of token sequences.

        Args:
          ids: int [B, L]. An id outside the word table gives NaN states, as do types and positions outside theirs.
          mask: bool [B, L], True on tokens and False on padding, which is never attended to. None: no padding.
          types: int [B, L], token types; 0 where not given.
          positions: int [B, L] or [1, L]; 0..L-1 where not given.
          train: whether dropout is on; it draws from the "dropout" stream.

        Returns:
          layers + 1 arrays [B, L, D]: the embedded text, then each layer's output. States at padding are meaningless.

        Raises:
          ValueError: sequences longer than the position table.
        """
        length = ids.shape[1]
        if positions is None and length > self.config.positions:
            raise ValueError(f"sequences of {length} tokens exceed BERT's {self.config.positions} positions")
        types = jnp.zeros_like(ids) if types is None else types
        positions = jnp.arange(length, dtype=ids.dtype)[None] if positions is None else positions
        states = [BertEmbeddings(self.config, self.dtype, name="embeddings")(ids, types, positions, train=train)]
        for n in range(self.config.layers):
            layer = BertLayer(self.config, self.dtype, self.implementation, name=f"layer_{n}")
            states.append(layer(states[-1], mask, train=train))
        if not self.is_initializing():
            for state in states:
                self.sow("intermediates", "hidden", state)
        return tuple(states)
