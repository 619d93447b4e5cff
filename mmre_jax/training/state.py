"""What a run carries from step to step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

Params = Mapping[str, Any]


@flax.struct.dataclass
class TrainState:
    """step: int32, optimiser steps done.  params: trained.  frozen: never updated, without optimiser state.
    stats: variable collections other than params (batch statistics); those of a frozen part are never updated, either.
    failed: int32, the first step whose loss or gradient was not finite, else -1; from then on nothing is updated any more, so that the
      state that failed is still there when the host looks.
    """

    step: jax.Array
    params: Params
    frozen: Params
    stats: Mapping[str, Any]
    opt_state: optax.OptState
    failed: jax.Array

    def variables(self, params: Params | None = None) -> dict[str, Any]:
        """Everything a system's functions take, with `params` in place of the trained ones if given."""
        return {"params": {**self.frozen, **(self.params if params is None else params)}, **self.stats}


def split_params(params: Params, frozen: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(trained, frozen) by the names of a system's parts, its top-level parameter names.

    Raises:
      ValueError: for a part the system does not have, or if nothing is left to train.
    """
    frozen = set(frozen)
    if unknown := frozen - set(params):
        raise ValueError(f"optim.frozen names {sorted(unknown)}, but the parts of this system are {sorted(params)}")
    if frozen == set(params):
        raise ValueError("optim.frozen names every part: nothing would be trained")
    return {k: v for k, v in params.items() if k not in frozen}, {k: v for k, v in params.items() if k in frozen}


def create(variables: Mapping[str, Any], frozen: Iterable[str], tx: optax.GradientTransformation) -> TrainState:
    """A state at step 0."""
    params, held = split_params(variables["params"], frozen)
    stats = {name: value for name, value in variables.items() if name != "params"}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        frozen=held,
        stats=stats,
        opt_state=jax.jit(tx.init)(params),  # one program for all moments
        failed=-jnp.ones((), jnp.int32),
    )
