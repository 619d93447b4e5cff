"""A table of word vectors (Mikolov et al. 2013, Pennington et al. 2014): a text encoder that knows nothing of a word's neighbours."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from mmre_jax.data.text import SPECIALS
from mmre_jax.dropout import Dropout

KIND = "vectors"  # as text.kind
UNKNOWN = SPECIALS.index("[UNK]")  # its id: the special tokens are the first of every tokenizer that is trained here


@dataclasses.dataclass(frozen=True)
class VectorConfig:
    """Sizes.

    vocab_size: rows of the table, those of markers, the last ones, included.
    word_dropout: share of the words that training reads as the unknown word, whose vector is learnt from them.
    init_std: standard deviation of the rows that no file has; 0: uniform with a variance of 1 / width (Ma and Hovy 2016, section 3.1).
    """

    vocab_size: int
    width: int
    dropout: float = 0.0
    word_dropout: float = 0.0
    init_std: float = 0.0


def vector_config(text: ConfigDict, vocab_size: int) -> VectorConfig:
    """The sizes that section `text` says.

    Raises:
      ValueError: for a configuration of another kind of text encoder.
    """
    if text.kind != KIND:
        whose = f", which is what text.weights={text.weights} holds" if text.weights else ""
        raise ValueError(f"this system reads vectors of words: text.kind={KIND}, found {text.kind!r}{whose}")
    return VectorConfig(vocab_size, text.width, text.dropout, text.word_dropout, text.init_std)


class WordVectors(nn.Module):
    """The vectors of words: ids int [B, L] -> [B, L, D]."""

    config: VectorConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, ids: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        if train and config.word_dropout:
            dropped = jax.random.bernoulli(self.make_rng("dropout"), config.word_dropout, ids.shape)
            ids = jnp.where(dropped & (ids >= len(SPECIALS)), jnp.asarray(UNKNOWN, ids.dtype), ids)
        table = self.param("word", _initial(config), (config.vocab_size, config.width))
        found = jnp.take(table, ids, axis=0).astype(self.dtype)
        return Dropout(config.dropout, deterministic=not train)(found)


def _initial(config: VectorConfig) -> nn.initializers.Initializer:
    if config.init_std:
        return nn.initializers.normal(config.init_std)
    return nn.initializers.variance_scaling(1.0, "fan_in", "uniform", in_axis=1, out_axis=0)
