"""The object-oriented and the entity-oriented prefix (DGF-PT, section 4.1.2): "Consider <objects>, predict relation." and
"Consider <e1, e2>, predict relation.", each with two slots between its words.

The words of a prefix are trainable vectors that start as the vocabulary's. What is trained is their distance from the vocabulary's rows,
which is 0 at first: so they start there whatever the table was filled with, are trained where the language model is frozen, and weight
decay draws them back to the words that they were.

Shape letters: B batch, L tokens, K objects, n words of a prefix, D width.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.fusion.similarity import cosine_shares

SLOT = "{}"  # stands in a template where the slots are


@dataclasses.dataclass(frozen=True)
class PrefixConfig:
    """The prefixes: of each the stage that it opens, 0 for none, and the ids of the pieces around its slots."""

    objects: int = 1
    entities: int = 1
    before: tuple[int, ...] = ()
    behind: tuple[int, ...] = ()

    def at(self, stage: int) -> tuple[str, ...]:
        """The prefixes that open a stage, in their order."""
        return tuple(name for name in ("objects", "entities") if getattr(self, name) == stage)

    @property
    def length(self) -> int:
        """Places of a prefix."""
        return len(self.before) + len(self.behind) + 2


def words_around(template: str) -> tuple[list[str], list[str]]:
    """The words of a template before and behind its slots, punctuation marks being words.

    Raises:
      ValueError: for a template that does not name its slots exactly once.
    """
    parts = template.split(SLOT)
    if len(parts) != 2:
        raise ValueError(f"system.prefix.words={template!r} has no place, or several, for what is considered: write {SLOT} there, once")
    before, behind = (re.findall(r"\w+|[^\w\s]", part) for part in parts)
    return before, behind


class Prefix(nn.Module):
    """One prefix. Parameter: `offset` [n, D], from the vocabulary's rows; none where there are no words, for a checkpoint holds no empty
    arrays.

    Attributes:
      before, behind: ids of the pieces before and behind the slots.
    """

    before: tuple[int, ...]
    behind: tuple[int, ...]

    @nn.compact
    def __call__(self, rows: Callable[[jax.Array], jax.Array], slots: jax.Array, there: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The prefix as places of a stage.

        Args:
          rows: ids int [1, n] -> rows of the word table [1, n, D].
          slots: [B, 2, D].
          there: bool [B, 2], which slots hold something.

        Returns:
          [B, n + 2, D], and bool [B, n + 2].
        """
        count, (batch, _, width) = len(self.before) + len(self.behind), slots.shape
        if not count:
            return slots, there
        offset = self.param("offset", nn.initializers.zeros, (count, width))
        # The rows of the table learn from the text alone.
        words = jax.lax.stop_gradient(rows(jnp.asarray([*self.before, *self.behind], jnp.int32)[None]))[0].astype(jnp.float32) + offset
        words = jnp.broadcast_to(words.astype(slots.dtype)[None], (batch, count, width))
        first = len(self.before)
        valid = jnp.ones((batch, count), bool)
        parts = (words[:, :first], slots, words[:, first:]), (valid[:, :first], there, valid[:, first:])
        return jnp.concatenate(parts[0], axis=1), jnp.concatenate(parts[1], axis=1)


def entity_means(x: jax.Array, entities: jax.Array) -> jax.Array:
    """The mean of x [B, L, D] over each entity's pieces, entities bool [B, 2, L]: [B, 2, D]."""
    shares = entities.astype(jnp.float32)
    shares = shares / jnp.maximum(shares.sum(axis=-1, keepdims=True), 1.0)
    return jnp.einsum("bel,bld->bed", shares, x.astype(jnp.float32)).astype(x.dtype)


def objects_of(entities: jax.Array, objects: jax.Array, there: jax.Array) -> jax.Array:
    """For each entity the mean of the objects weighted by softmax of the cosine between the entity's embedding and the object.

    Args:
      entities: [B, 2, D].
      objects: [B, K, D].
      there: bool [B, K].

    Returns:
      [B, 2, D]; 0 where there are no objects.
    """
    return jnp.einsum("bek,bkd->bed", cosine_shares(entities, objects, there).astype(objects.dtype), objects)
