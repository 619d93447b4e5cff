"""Dropout (Srivastava et al. 2014) whose draws cost half of what flax's do: two from each random word."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

STEPS = 1 << 16  # a rate is rounded to one of this many


def kept(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    """bool of that shape, each True with probability 1 - rate, the rate rounded to the nearest 1/65536.

    A random word of 32 bits decides on two places: those at i and at i + n of the first axis of even length, 2 n.
    """
    axis = next((place for place, size in enumerate(shape) if size % 2 == 0), None)
    drawn = tuple(size // 2 if place == axis else size for place, size in enumerate(shape))
    words, least = jax.random.bits(key, drawn, jnp.uint32), np.uint32(_parts(rate))
    low = (words & np.uint32(STEPS - 1)) >= least
    return low if axis is None else jnp.concatenate([low, (words >> np.uint32(16)) >= least], axis=axis)


def dropped(x: jax.Array, rate: float, key: jax.Array, drawn: tuple[int, ...] | None = None) -> jax.Array:
    """x with a share of its elements set to 0 and the others scaled so that the mean stays.

    Args:
      rate: that share, in [0, 1).
      drawn: leading axes of x for which draws are made; what lies behind them falls together. None: each element alone.
    """
    shape = x.shape if drawn is None else drawn
    keep = kept(key, rate, shape).reshape(*shape, *(1,) * (x.ndim - len(shape)))
    return jnp.where(keep, x / (1.0 - _parts(rate) / STEPS), jnp.zeros((), x.dtype))


def _parts(rate: float) -> int:
    """The rate in steps; one of them always stays."""
    return min(round(rate * STEPS), STEPS - 1)


class Dropout(nn.Module):
    """Drops elements of x, any shape, drawing from the "dropout" stream, unless it is told to be `deterministic`, here or when called.

    rate: in [0, 1).
    """

    rate: float
    deterministic: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, deterministic: bool = False) -> jax.Array:
        """x, or what `dropped` makes of it."""
        still = deterministic or self.deterministic or self.rate == 0.0
        return x if still else dropped(x, self.rate, self.make_rng("dropout"))
