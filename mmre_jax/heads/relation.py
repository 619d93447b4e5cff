"""Relation classifier on the two entity markers or on [CLS], and the objective that trains it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.losses import cross_entropy, global_sum


class RelationHead(nn.Module):
    """Linear(2 D -> R) on [state at the head's marker; state at the tail's marker] (HVFormer eq. 11), or Linear(D -> R) on the state of
    [CLS] (RSRNeT, above eq. 15, where two matrices stand with nothing between them, which is one linear map); see `choice.places_read`."""

    relations: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, states: jax.Array) -> jax.Array:
        """The states that are read, [B, 2 or 1, D] -> logits float32 [B, R]."""
        classifier = nn.Dense(self.relations, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02), name="classifier")
        return classifier(states.reshape(len(states), -1)).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class RelationObjective:
    """Cross-entropy averaged over the global batch's valid records (HVFormer eq. 12)."""

    def loss(
        self, logits: jax.Array, batch: Mapping[str, Any], axis: str | None
    ) -> tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]:
        """logits [B, R] -> (this shard's share of the loss, metrics as local (sum, count))."""
        valid = batch["valid"].astype(jnp.float32)
        losses = cross_entropy(logits, batch["label"]) * valid
        hits = (jnp.argmax(logits, axis=-1) == batch["label"]).astype(jnp.float32) * valid
        local = valid.sum()
        share = losses.sum() / jnp.maximum(global_sum(local, axis), 1.0)
        return share, {"loss": (losses.sum(), local), "accuracy": (hits.sum(), local)}

    def predict(self, logits: jax.Array, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """logits [B, R] -> probabilities float32 [B, R]."""
        return {"probabilities": jax.nn.softmax(logits, axis=-1), "logits": logits}
