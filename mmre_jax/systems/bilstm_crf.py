"""BiLSTM-CRF (Huang, Xu and Yu 2015) and CNN-BiLSTM-CRF (Ma and Hovy, ACL 2016): entities from words alone, without a transformer.

Each word is its vector; in the second system another one stands beside it, of how the word is written: a convolution over its letters and
a maximum over them (Ma and Hovy, section 2.1). A long short-term memory runs over the sentence in either direction, and from its two states
at a word the scores of its tags are computed, over which a chain runs.

[CLS] and [SEP] are read, too, as a first and a last word. Left out: the spelling and context features of Huang et al. (section 4.2), and
a forget gate's bias that starts at 1 (Ma and Hovy, section 3.1): all biases start at 0. Letters are bytes (data/spelling.py).

Shape letters: B batch, L tokens, C bytes of a word, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.data.spelling import BYTES
from mmre_jax.declare import Section, choice, flag, number, whole
from mmre_jax.dropout import Dropout
from mmre_jax.encoders.word_vectors import VectorConfig, WordVectors, vector_config
from mmre_jax.heads.entities import EntityHead, EntityObjective
from mmre_jax.systems.system import ModuleSystem, Pictures


@dataclasses.dataclass(frozen=True)
class LettersConfig:
    """Sizes of what reads how a word is written. width: of a letter's vector."""

    width: int
    filters: int
    window: int
    dropout: float


@dataclasses.dataclass(frozen=True)
class BiLstmConfig:
    """Sizes.

    letters: None where words are read by their vectors alone.
    width: of the states of one direction.
    dropout: before each layer.  head_dropout: behind the last one.
    """

    words: VectorConfig
    letters: LettersConfig | None
    tags: int
    width: int
    layers: int
    dropout: float
    head_dropout: float


class Letters(nn.Module):
    """A vector of how each word is written: bytes int [B, L, C], 0 for none, -> [B, L, filters]; 0 where there is no byte."""

    config: LettersConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, written: jax.Array, *, train: bool) -> jax.Array:
        config, there = self.config, (written > 0)[..., None]
        init = nn.initializers.variance_scaling(1.0, "fan_in", "uniform", in_axis=1, out_axis=0)  # +- sqrt(3 / width), as theirs
        x = nn.Embed(BYTES, config.width, dtype=self.dtype, embedding_init=init, name="byte")(written)
        x = jnp.where(there, Dropout(config.dropout, deterministic=not train)(x), 0.0)
        x = jnp.tanh(nn.Conv(config.filters, (config.window,), dtype=self.dtype, name="convolution")(x))
        return jnp.where(there, x, -1.0).max(axis=2) * there.any(axis=2).astype(x.dtype)  # of tanh nothing is below -1


class BiLstm(nn.Module):
    """A layer that reads in both directions: x [B, L, D] and how many of the L each sentence has, int [B], -> [B, L, 2 * width].

    What stands behind a sentence has no part in it; the states there are meaningless.
    """

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
        cells = (nn.OptimizedLSTMCell(self.width, dtype=self.dtype, name=name) for name in ("forwards", "backwards"))
        return nn.Bidirectional(*map(nn.RNN, cells))(x, seq_lengths=lengths)


class BiLstmCrf(nn.Module):
    """The network: text -> the outputs of an `EntityHead`."""

    config: BiLstmConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool
    ) -> dict[str, jax.Array]:
        """text: ids int32 [B, L], mask bool [B, L], where letters are read letters int32 [B, L, C]. There are no pictures."""
        config = self.config
        x = WordVectors(config.words, dtype=self.dtype, name="text")(text["ids"], train=train)
        if config.letters is not None:
            x = jnp.concatenate([x, Letters(config.letters, dtype=self.dtype, name="letters")(text["letters"], train=train)], axis=-1)
        lengths = text["mask"].sum(axis=1)
        for n in range(config.layers):
            x = Dropout(config.dropout, deterministic=not train)(x)
            x = BiLstm(config.width, dtype=self.dtype, name=f"lstm_{n}")(x, lengths)
        return EntityHead(config.tags, config.head_dropout, dtype=self.dtype, name="head")(x, train=train)


SETTINGS: Section = {
    "flavour": choice("paper", ("paper",), "nothing but the papers' arithmetic is here"),
    "modalities": choice("text", ("text",), "it reads words alone"),
    "width": whole(200, "[1, inf)", "of the states of one direction"),
    "layers": whole(1, "[1, inf)", "of them, each in both directions"),
    "dropout": number(0.5, "[0, 1)", "before each layer"),
    "head_dropout": number(0.5, "[0, 1)", "before the linear layer of the tags"),
    "constrain": flag(True, "rule out what BIO forbids"),
    "letters": whole(0, "[0, inf)", "bytes of a word that are read, its first ones; 0: words are read by their vectors alone"),
    "letter_width": whole(30, "[1, inf)", "of a letter's vector"),
    "letter_filters": whole(30, "[1, inf)", "of the convolution over letters"),
    "letter_window": whole(3, "[1, inf)", "letters that a filter sees"),
    "letter_dropout": number(0.5, "[0, 1)", "of the letters' vectors"),
}


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, text.
      vocab_size: rows of the word table.
      labels: tags.

    Raises:
      ValueError: for settings that contradict each other.
    """
    if config.task.name != "entities":
        raise ValueError(f"system 'bilstm_crf' has the task entities, found task.name={config.task.name!r}")
    system = config.system
    letters = LettersConfig(system.letter_width, system.letter_filters, system.letter_window, system.letter_dropout)
    net = BiLstmConfig(
        words=vector_config(config.text, vocab_size),
        letters=letters if system.letters else None,
        tags=len(labels),
        width=system.width,
        layers=system.layers,
        dropout=system.dropout,
        head_dropout=system.head_dropout,
    )
    return ModuleSystem(BiLstmCrf(net, dtype), EntityObjective(tuple(labels), system.constrain), ())
