"""Joint objective (DGF-PT, section 4.4): relation classification, distribution consistency, self-identification, and the types.

Corrections of the paper: eq. 11 is the KL divergence of eq. 10, which is 0 where the distributions agree; the hinge of eq. 12 is upside
down as printed, and has a margin here. Negatives are of another relation, and come from the global batch.

Shape letters: B records of a shard, G of the global batch, T types, R relations, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmre_jax.fusion.dual_gate import GATES
from mmre_jax.fusion.similarity import unit
from mmre_jax.losses import cross_entropy, global_sum

UNKNOWN = -1  # the type of an entity of which none is known
# What is told of the fusion, a number a record each: of the gates, by how much of its length the pooled text is moved, and eq. 10.
TOLD = (*GATES, "moved by", "divergence")


@dataclasses.dataclass(frozen=True)
class JointWeights:
    """lambda_d, lambda_s and lambda_c of eq. 14, and the weight of the types."""

    consistency: float = 2.0
    identification: float = 2.0
    relation: float = 3.0
    types: float = 1.0


@dataclasses.dataclass(frozen=True)
class JointObjective:
    """Eq. 14. joint: False is "w/o joint objective": eq. 10 and 12 are left out."""

    weights: JointWeights = JointWeights()
    margin: float = 0.2
    joint: bool = True

    def loss(
        self, outputs: Mapping[str, Any], batch: Mapping[str, Any], axis: str | None
    ) -> tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]:
        """(this shard's share of the loss, metrics as local (sum, count)): each part is a mean over the global batch.

        Args:
          outputs: logits and unfused float [B, R], text and fused (pooled) [B, D], types [B, 2, T] or None.
          batch: label int [B], valid bool [B], types int [B, 2], UNKNOWN where none is known.
        """
        valid, label = batch["valid"], batch["label"]
        records = valid.astype(jnp.float32)
        known = ((batch["types"] != UNKNOWN) & valid[:, None]).astype(jnp.float32)
        parts = {"relation": (cross_entropy(outputs["logits"], label) * records, records)}
        if self.joint:
            parts["consistency"] = divergence(outputs["logits"], outputs["unfused"]) * records, records
            parts["identification"] = identification(outputs["text"], outputs["fused"], label, valid, self.margin, axis), records
        if outputs["types"] is not None:
            parts["types"] = cross_entropy(outputs["types"], jnp.maximum(batch["types"], 0)) * known, known
        sums = {name: (losses.sum(), counted.sum()) for name, (losses, counted) in parts.items()}
        share = jnp.zeros((), jnp.float32)
        for name, (total, count) in sums.items():
            share += getattr(self.weights, name) * total / jnp.maximum(global_sum(count, axis), 1.0)
        hits = (jnp.argmax(outputs["logits"], axis=-1) == label).astype(jnp.float32) * records
        # Over shards the shares add up; as (sum, count) they are a mean once more.
        everything = share * jnp.maximum(global_sum(records.sum(), axis), 1.0)
        return share, {"loss": (everything, records.sum()), "accuracy": (hits.sum(), records.sum()), **sums}

    def predict(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """probabilities and logits [B, R], fusion float32 [B, 5], what TOLD names, types float32 [B, 2, T] where there are any."""
        logits, text, fused = outputs["logits"], outputs["text"].astype(jnp.float32), outputs["fused"].astype(jnp.float32)
        moved = jnp.linalg.norm(fused - text, axis=-1) / jnp.maximum(jnp.linalg.norm(text, axis=-1), 1e-6)
        told = jnp.stack([moved, divergence(logits, outputs["unfused"])], axis=-1)
        fusion = jnp.concatenate([outputs["gates"], told], axis=-1)
        found = {"probabilities": jax.nn.softmax(logits, axis=-1), "logits": logits, "fusion": fusion}
        return found if outputs["types"] is None else {**found, "types": jax.nn.softmax(outputs["types"], axis=-1)}


def divergence(logits: jax.Array, other: jax.Array) -> jax.Array:
    """KL(softmax(logits) || softmax(other)), [..., R] -> float32 [...], nats (eq. 10)."""
    first, second = (jax.nn.log_softmax(x.astype(jnp.float32), axis=-1) for x in (logits, other))
    return (jnp.exp(first) * (first - second)).sum(axis=-1)


def identification(text: jax.Array, fused: jax.Array, label: jax.Array, valid: jax.Array, margin: float, axis: str | None) -> jax.Array:
    """Eq. 12 for each record of the shard: [m + s(x_n, x~) - s(x, x~)]_+ + [m + s(x, x~_n) - s(x, x~)]_+, s being the cosine.

    x_n (x~_n) is of all texts (fused texts) of the global batch that have another relation the one most like x~ (x). Without any the
    record loses nothing.

    Args:
      text: x [B, D].
      fused: x~ [B, D].
      label: int [B].
      valid: bool [B]; other records are nobody's negatives, and lose nothing.
      axis: over which the global batch is spread.

    Returns:
      float32 [B].
    """
    x, y = unit(text), unit(fused)
    everyone = (x, y, label, valid)
    if axis is not None:
        everyone = jax.tree.map(lambda part: jax.lax.all_gather(part, axis, tiled=True), everyone)
    all_x, all_y, labels, counted = everyone
    other = (labels[None, :] != label[:, None]) & counted[None, :]  # [B, G]
    lowest = jnp.finfo(jnp.float32).min
    own = (x * y).sum(axis=-1)

    def hinge(scores: jax.Array) -> jax.Array:
        return jnp.maximum(margin + jnp.where(other, scores, lowest).max(axis=1) - own, 0.0)

    found = hinge(y @ all_x.T) + hinge(x @ all_y.T)
    return jnp.where(valid & other.any(axis=1), found, 0.0)
