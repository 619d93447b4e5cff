"""Tag scores per token under a linear-chain CRF, and the objective that trains them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.heads.crf import Crf, forbid, illegal, log_likelihood, viterbi
from mmre_jax.heads.marginals import mention_probabilities
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

    tags: in the order of the emissions.
    constrain: whether transitions that BIO forbids are ruled out (in loss and prediction), or left to be learnt, as the released code does.
    """

    tags: tuple[str, ...]
    constrain: bool = False

    def loss(
        self, outputs: Mapping[str, jax.Array], batch: Mapping[str, Any], axis: str | None
    ) -> tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]:
        """outputs of `EntityHead` -> (this shard's share of the loss, metrics as local (sum, count)); batch: tags, scored, valid."""
        chain = batch["scored"] & batch["valid"][:, None]
        total = -log_likelihood(outputs["emissions"], batch["tags"], chain, self.crf(outputs)).sum()
        local = batch["valid"].astype(jnp.float32).sum()
        return total / jnp.maximum(global_sum(local, axis), 1.0), {"loss": (total, local)}

    def predict(self, outputs: Mapping[str, jax.Array], batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """The best path over the scored positions, and how sure its mentions are.

        Args:
          outputs: of `EntityHead`.
          batch: scored bool [B, L]; words bool [B, L], where not every scored position is a word's.

        Returns:
          tags int32 [B, L], 0 where nothing is scored; mention float32 [B, L], at a mention's last word the probability of the mention
          (marginals.py), 0 elsewhere.
        """
        emissions, scored, crf = outputs["emissions"], batch["scored"], self.crf(outputs)
        path = viterbi(emissions, scored, crf)
        return {"tags": path, "mention": mention_probabilities(emissions, path, scored, batch.get("words", scored), crf, self.tags)}

    def crf(self, outputs: Mapping[str, jax.Array]) -> Crf:
        """The chain's scores, constrained if so configured."""
        crf = Crf(outputs["transitions"], outputs["start"], outputs["end"])
        return forbid(crf, *illegal(self.tags)) if self.constrain else crf
