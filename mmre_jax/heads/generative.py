"""Generative decoder (DGF-PT, section 4.3): behind the text the language model says the type of e1, the type of e2 and the relation, a step
each, and what the relation step says is classified together with the text.

A step's input is the embedding of what the step before said: the types' embeddings weighted by their probabilities, in training as at test,
so that no gold type ever reaches the relation.

Shape letters: B batch, L tokens, T types, R relations, D width.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.encoders.blocks import TABLE_STD
from mmre_jax.encoders.language import LanguageModel, read_stage
from mmre_jax.encoders.stages import Cache, put, with_room

STEPS = 3  # type of e1, type of e2, relation


class GenerativeDecoder(nn.Module):
    """Eq. 9. Parameters: `start` [D], what the first step reads, and with types `embedding` [T, D] and the dense `type`, which both type
    steps share. Without types the relation step is the only one.

    model: that read the stages; it belongs to whoever made it.
    """

    model: LanguageModel
    types: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, cache: Cache, *, train: bool) -> tuple[jax.Array, jax.Array | None]:
        """Continues what the stages read.

        Returns:
          r, the state of the relation step [B, D], and logits of the types of e1 and e2, float32 [B, 2, T], None without types.
        """
        width, batch, init = self.model.config.width, len(cache.mask), nn.initializers.normal(TABLE_STD)
        start = self.param("start", init, (width,))
        spoken = jnp.broadcast_to(start[None], (batch, width)).astype(jnp.float32)
        if not self.types:
            return self._read(spoken, cache, train)[0], None
        table = self.param("embedding", init, (self.types, width))

        def step(self: GenerativeDecoder, carry: tuple[jax.Array, Cache], place: jax.Array) -> Any:
            spoken, cache = carry
            state, longer = self._read(spoken, cache, train)
            said = nn.Dense(self.types, dtype=self.dtype, name="type")(state).astype(jnp.float32)
            return (jax.nn.softmax(said, axis=-1) @ table, put(cache, longer, place)), (state, said)

        # One program for the three steps. Of the last one neither the types that it would say nor its place in the cache is looked at.
        # What the model sows of its stages stays; of these steps it sows nothing.
        steps = nn.scan(step, variable_broadcast="params", split_rngs={"params": False, "dropout": True})
        places = cache.mask.shape[1] + jnp.arange(STEPS)
        _, (states, said) = steps(self, (spoken, with_room(cache, STEPS - 1)), places)
        return states[-1], said[:2].swapaxes(0, 1)

    def _read(self, spoken: jax.Array, cache: Cache, train: bool) -> tuple[jax.Array, Cache]:
        """One place [B, D] behind the cached ones: its state [B, D], and the cache with it."""
        words, there = spoken.astype(self.dtype)[:, None], jnp.ones((len(spoken), 1), bool)
        state, longer = read_stage(self.model, words, there, cache, train=train)
        return state[:, 0], longer


class RelationClassifier(nn.Module):
    """p(r) = softmax(W [r; pooled text; e1; e2]) of eq. 13 and 10, for the fused text and for the text before fusion.

    Dropout is the same for both, so that eq. 10 compares the texts and not the draws.
    """

    relations: int
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, relation: jax.Array, texts: jax.Array, *, train: bool) -> jax.Array:
        """relation r [B, D]; texts [N, B, 3 D], pooled text and entities of N texts -> logits float32 [N, B, R]."""
        both = jnp.concatenate([jnp.broadcast_to(relation[None], (*texts.shape[:2], relation.shape[-1])), texts], axis=-1)
        both = nn.Dropout(self.dropout, broadcast_dims=(0,), deterministic=not train)(both)
        init = nn.initializers.normal(TABLE_STD)
        return nn.Dense(self.relations, dtype=self.dtype, kernel_init=init, name="classifier")(both).astype(jnp.float32)
