"""A language model that reads its input in stages: each stage attends to the keys and values that the earlier ones left behind.

A causal model that reads [a], [b], [c] one after the other computes what it computes of [a; b; c] at once. A model that looks both ways
reads each stage as a whole, and never ahead of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp

from mmre_jax.attention import KeysValues


@flax.struct.dataclass
class Cache:
    """What the stages read so far left for the next one. C places, padding among them.

    Attributes:
      layers: keys and values [B, C, H, d] each, of every layer.
      mask: bool [B, C], which of the places hold something.
    """

    layers: tuple[KeysValues, ...]
    mask: jax.Array

    def positions(self) -> jax.Array:
        """int32 [B, 1]: how many places hold something, which is the position of what comes next."""
        return self.mask.sum(axis=1, keepdims=True, dtype=jnp.int32)


def with_room(cache: Cache, places: int) -> Cache:
    """The cache with places behind it that hold nothing yet; see `put`."""
    padded = jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (0, places)) + ((0, 0),) * (x.ndim - 2)), (cache.layers, cache.mask))
    return Cache(*padded)


def put(cache: Cache, longer: Cache, place: jax.Array) -> Cache:
    """The cache with the last place of a longer one at `place`, int: what a step of generation leaves behind, in the same shapes."""

    def at(x: jax.Array, own: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(x, own[:, -1:].astype(x.dtype), place, axis=1)

    return Cache(*jax.tree.map(at, (cache.layers, cache.mask), (longer.layers, longer.mask)))


def positions_of(mask: jax.Array, cache: Cache | None) -> jax.Array:
    """int32 [B, L]: positions counted over what is there, behind the cached stages, so that no padding moves what follows it.

    Args:
      mask: bool [B, L], True where there is something; padding gets the position of what was last there, or 0.
    """
    before = 0 if cache is None else cache.positions()
    return jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0) + before


def extended(cache: Cache | None, layers: Sequence[KeysValues], mask: jax.Array) -> Cache:
    """The cache with a stage's own keys and values [B, L, H, d] of every layer, and its mask [B, L], behind the others."""
    if cache is None:
        return Cache(tuple(layers), mask)
    joined = jax.tree.map(lambda before, own: jnp.concatenate([before, own], axis=1), cache.layers, tuple(layers))
    return Cache(joined, jnp.concatenate([cache.mask, mask], axis=1))
