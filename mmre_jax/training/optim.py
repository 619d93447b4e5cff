"""AdamW with linear warm-up and decay, a decay mask, clipping, and learning rates per part."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

UNDECAYED = ("bias", "scale")


def schedule(config: Any, total_steps: int) -> optax.Schedule:
    """Linear from 0 to config.lr over the first `config.warmup` share of the steps, then linear to 0; or constant after the warm-up."""
    warmup = int(round(config.warmup * total_steps))
    rise = optax.linear_schedule(0.0, config.lr, warmup)
    falling, constant = optax.linear_schedule(config.lr, 0.0, max(total_steps - warmup, 1)), optax.constant_schedule(config.lr)
    rest = {"linear": falling, "constant": constant}[config.schedule]
    return optax.join_schedules([rise, rest], [warmup]) if warmup else rest


def decay_mask(params: Mapping[str, Any]) -> Any:
    """True where weight decay applies: everywhere but on biases and normalisation scales (also stacked experts' biases)."""
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({path: not path[-1].endswith(UNDECAYED) for path in flat})


def scales(params: Mapping[str, Any], multipliers: Mapping[str, float], frozen: Collection[str] = ()) -> Any:
    """The learning-rate factor of every parameter: its part's multiplier, else 1; a frozen part may have one, too.

    Raises:
      ValueError: for a part that there is not.
    """
    if unknown := set(multipliers) - set(params) - set(frozen):
        raise ValueError(f"optim.multipliers names {sorted(unknown)}, but the trained parts are {sorted(params)}")
    return {part: jax.tree.map(lambda _, part=part: float(multipliers.get(part, 1.0)), tree) for part, tree in params.items()}


def clip(limit: float) -> optax.GradientTransformationExtraArgs:
    """As `optax.clip_by_global_norm`, for updates whose global norm is given: they may lie in parts on several devices, and one number for
    all of them lets XLA clip in the pass that updates."""

    def clipped(updates: Any, state: optax.EmptyState, params: Any = None, *, norm: jax.Array, **_: Any) -> tuple[Any, optax.EmptyState]:
        del params
        factor = jnp.where(norm < limit, 1.0, limit / norm)
        return jax.tree.map(lambda u: u * factor.astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), clipped)


def make_optimizer(config: Any, params: Mapping[str, Any], total_steps: int) -> optax.GradientTransformationExtraArgs:
    """The optimiser of config.optim for these trained parameters: every one is in it, once.

    Its `update` is told `norm`, the global norm of the updates over all devices.

    Args:
      config: lr, warmup, schedule, weight_decay, clip (0: none), b1, b2, eps, multipliers {part: factor}, frozen.
      total_steps: optimiser steps of the whole run.
    """
    factors = scales(params, dict(config.multipliers), config.frozen)
    chain = optax.chain(
        clip(config.clip) if config.clip else optax.identity(),
        optax.scale_by_adam(config.b1, config.b2, config.eps),
        optax.add_decayed_weights(config.weight_decay, decay_mask(params)),
        optax.stateless(lambda updates, _: jax.tree.map(lambda u, f: u * f, updates, factors)),
        optax.scale_by_learning_rate(schedule(config, total_steps)),
    )

    def update(updates: Any, state: optax.OptState, params: Any = None, *, norm: jax.Array, **_: Any) -> tuple[Any, optax.OptState]:
        with jax.numpy_dtype_promotion("standard"):  # optax's bias correction mixes integers and floats
            return chain.update(updates, state, params, norm=norm)

    return optax.GradientTransformationExtraArgs(chain.init, update)
