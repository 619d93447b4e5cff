"""Tag scores per token under a linear-chain CRF, and the objective that trains them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.heads.crf import Crf, forbid, illegal, log_likelihood, viterbi
from mmre_jax.losses import global_sum

BOUND = 0.1  # transitions start uniform in (-0.1, 0.1), as in the pytorch-crf package that the released code uses


def _uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.uniform(key, shape, jnp.float32, -BOUND, BOUND)


class EntityHead(nn.Module):
    """Dropout and Linear(D -> K) on every token, with the chain's scores as parameters (RSRNeT, HVPNeT and IFAformer, entities)."""

    tags: int
    dropout: float = 0.1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, states: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        """states [B, L, D] -> emissions float32 [B, L, K], transitions [K, K] (i -> j), start [K], end [K]."""
        states = nn.Dropout(self.dropout, deterministic=not train)(states)
        classifier = nn.Dense(self.tags, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02), name="classifier")
        return {
            "emissions": classifier(states).astype(jnp.float32),
            "transitions": self.param("transitions", _uniform, (self.tags, self.tags)),
            "start": self.param("start", _uniform, (self.tags,)),
            "end": self.param("end", _uniform, (self.tags,)),
        }


@dataclasses.dataclass(frozen=True)
class EntityObjective:
    """Minus the log-likelihood of the tags, averaged over the global batch's valid records.

    constrain: the tags in the order of the emissions, where transitions that BIO forbids are to be ruled out (in loss and prediction);
      None to leave them to be learnt, as the released code does.
    """

    constrain: tuple[str, ...] | None = None

    def loss(
        self, outputs: Mapping[str, jax.Array], batch: Mapping[str, Any], axis: str | None
    ) -> tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]:
        """outputs of `EntityHead` -> (this shard's share of the loss, metrics as local (sum, count)); batch: tags, scored, valid."""
        chain = batch["scored"] & batch["valid"][:, None]
        total = -log_likelihood(outputs["emissions"], batch["tags"], chain, self.crf(outputs)).sum()
        local = batch["valid"].astype(jnp.float32).sum()
        return total / jnp.maximum(global_sum(local, axis), 1.0), {"loss": (total, local)}

    def predict(self, outputs: Mapping[str, jax.Array], batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """outputs of `EntityHead` -> tags int32 [B, L], the best path over the scored positions; 0 elsewhere."""
        return {"tags": viterbi(outputs["emissions"], batch["scored"], self.crf(outputs))}

    def crf(self, outputs: Mapping[str, jax.Array]) -> Crf:
        """The chain's scores, constrained if so configured."""
        crf = Crf(outputs["transitions"], outputs["start"], outputs["end"])
        return crf if self.constrain is None else forbid(crf, *illegal(self.constrain))
