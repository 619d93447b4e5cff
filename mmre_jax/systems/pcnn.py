"""PCNN (Zeng et al., EMNLP 2015) and the CNN before it (Zeng et al., COLING 2014): relations from words alone, without a transformer.

Each word is its vector beside two others, which say how far it stands from the head and from the tail. One convolution runs over the
sentence; each of its filters is pooled by its maximum, over the whole sentence (2014, section 3.4) or over each of the three parts that
the entities cut it into (2015, section 3.3); then tanh and a softmax, in 2014 with a hidden layer before the tanh.

The sentence comes with markers, as all systems get it. Where they stand says where the entities are; they are then taken out, and so are
[CLS] and [SEP], so that the convolution sees words alone. An entity of several words is one place, at distance 0 from each of its words.

Left out: the lexical features of 2014 (the nouns, the words beside them, WordNet's hypernyms), and distant supervision with several
sentences of a pair (2015, section 3.5), which has no place where each sentence has its own label. Outside of the sentence all is 0, as in
both papers; the convolution gives as many positions as there are words, not the two more of 2015's.

Shape letters: B batch, L tokens, D width, F filters, R relations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.data.markers import MARKERS
from mmre_jax.declare import Section, choice, number, whole
from mmre_jax.dropout import Dropout
from mmre_jax.encoders.word_vectors import VectorConfig, WordVectors, vector_config
from mmre_jax.heads.relation import RelationHead, RelationObjective
from mmre_jax.systems.system import ModuleSystem, Pictures

POOLINGS = ("pieces", "sentence")


@dataclasses.dataclass(frozen=True)
class PcnnConfig:
    """Sizes, as the settings say them.

    words: whose last rows are those of the markers, in the order of MARKERS.
    """

    words: VectorConfig
    relations: int
    pooling: str = "pieces"
    filters: int = 230
    window: int = 3
    place_width: int = 5
    farthest: int = 80
    hidden: int = 0
    dropout: float = 0.5


class Sentence(NamedTuple):
    """Sentences without markers, their words in front.

    ids: int [B, L].  mask: bool [B, L], where a word is.
    head, tail: (start, end) of the entities in these words, int [B, 1] each, end-exclusive.
    """

    ids: jax.Array
    mask: jax.Array
    head: tuple[jax.Array, jax.Array]
    tail: tuple[jax.Array, jax.Array]


def unmarked(ids: jax.Array, mask: jax.Array, first: int) -> Sentence:
    """Takes markers, [CLS] and [SEP] out of marked sentences.

    Args:
      ids: int [B, L], [CLS] first and [SEP] last of each sentence's own.
      mask: bool [B, L], the sentence's own tokens, which stand in front.
      first: id of the first marker; the others follow in the order of MARKERS.
    """
    places, last = jnp.arange(ids.shape[1])[None], mask.sum(axis=1, keepdims=True) - 1
    kept = mask & (ids < first) & (places > 0) & (places < last)
    order = jnp.argsort(~kept, axis=1, stable=True)
    counted = kept.astype(jnp.int32)
    before = jnp.cumsum(counted, axis=1) - counted  # words in front of each token

    def at(marker: int) -> jax.Array:
        return jnp.take_along_axis(before, jnp.argmax(ids == first + marker, axis=1, keepdims=True), axis=1)

    found = (jnp.take_along_axis(x, order, axis=1) for x in (ids, kept))
    return Sentence(*found, (at(0), at(1)), (at(2), at(3)))


def distances(start: jax.Array, end: jax.Array, length: int) -> jax.Array:
    """How far each of `length` words stands from a span, int [B, length]: below 0 before it, 0 in it; start, end int [B, 1]."""
    places = jnp.arange(length)[None]
    return jnp.minimum(places - start, 0) + jnp.maximum(places - end + 1, 0)


def pieces(sentence: Sentence) -> jax.Array:
    """Which words lie in each of three parts, bool [B, L, 3]: up to the end of the entity that ends first, from there to the end of the
    other, and the rest."""
    places, ends = jnp.arange(sentence.ids.shape[1])[None], (sentence.head[1], sentence.tail[1])
    low, high = jnp.minimum(*ends), jnp.maximum(*ends)
    parts = jnp.stack([places < low, (places >= low) & (places < high), places >= high], axis=-1)
    return parts & sentence.mask[..., None]


def pool(x: jax.Array, parts: jax.Array) -> jax.Array:
    """The maximum of each filter over each part, 0 over one that has no word: x [B, L, F], parts bool [B, L, N] -> [B, N * F]."""
    found = jnp.where(parts[..., None], x[:, :, None, :], -jnp.inf).max(axis=1)
    return jnp.where(parts.any(axis=1)[..., None], found, 0.0).reshape(len(x), -1).astype(x.dtype)


class Pcnn(nn.Module):
    """The network: text -> relation logits [B, R]."""

    config: PcnnConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool) -> jax.Array:
        """text: ids int32 [B, L], mask bool [B, L], of marked sentences. There are no pictures."""
        config = self.config
        sentence = unmarked(text["ids"], text["mask"], config.words.vocab_size - len(MARKERS))
        read = [WordVectors(config.words, dtype=self.dtype, name="text")(sentence.ids, train=train)]
        for name, (start, end) in (("from_head", sentence.head), ("from_tail", sentence.tail)):
            far = jnp.clip(distances(start, end, sentence.ids.shape[1]), -config.farthest, config.farthest) + config.farthest
            read.append(nn.Embed(2 * config.farthest + 1, config.place_width, dtype=self.dtype, name=name)(far))
        x = jnp.where(sentence.mask[..., None], jnp.concatenate(read, axis=-1), 0.0)
        x = nn.Conv(config.filters, (config.window,), dtype=self.dtype, name="convolution")(x)
        pooled = pool(x, pieces(sentence) if config.pooling == "pieces" else sentence.mask[..., None])
        if config.hidden:
            pooled = nn.Dense(config.hidden, dtype=self.dtype, name="hidden")(pooled)
        found = Dropout(config.dropout, deterministic=not train)(jnp.tanh(pooled))
        return RelationHead(config.relations, dtype=self.dtype, name="head")(found[:, None])


SETTINGS: Section = {
    "flavour": choice("paper", ("paper",), "nothing but the papers' arithmetic is here"),
    "modalities": choice("text", ("text",), "it reads words alone"),
    "pooling": choice("pieces", POOLINGS, "a filter's maximum over each part that the entities cut (PCNN), or over the sentence (CNN)"),
    "filters": whole(230, "[1, inf)", "of the convolution"),
    "window": whole(3, "[1, inf)", "words that a filter sees"),
    "place_width": whole(5, "[1, inf)", "of the two vectors that say how far a word is from the entities"),
    "farthest": whole(80, "[1, inf)", "words between them and an entity from which on all are as far"),
    "hidden": whole(0, "[0, inf)", "width of a layer between pooling and tanh (2014); 0: none (2015)"),
    "dropout": number(0.5, "[0, 1)", "before the classifier"),
}
_SIZES = ("pooling", "filters", "window", "place_width", "farthest", "hidden", "dropout")


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, text.
      vocab_size: rows of the word table, those of the markers included.
      labels: relations.

    Raises:
      ValueError: for settings that contradict each other.
    """
    if config.task.name != "relation":
        raise ValueError(f"system 'pcnn' has the task relation, found task.name={config.task.name!r}")
    sizes = {name: config.system[name] for name in _SIZES}
    net = PcnnConfig(vector_config(config.text, vocab_size), len(labels), **sizes)
    return ModuleSystem(Pcnn(net, dtype), RelationObjective(), ())
