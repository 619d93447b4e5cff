"""Cosines, softmax over what is there, and what is picked by them.

Shape letters: B batch, K things to choose from, D width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_SMALLEST = 1e-12  # squared norm below which a vector has no direction: its cosines are near 0 and its gradients finite


def unit(x: jax.Array) -> jax.Array:
    """x [..., D] with norm 1, in float32; a vector of zeros stays one."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum((x * x).sum(axis=-1, keepdims=True), _SMALLEST))


def softmax_over(scores: jax.Array, valid: jax.Array) -> jax.Array:
    """Softmax over the last axis of scores [..., K] where valid bool [..., K] holds; 0 elsewhere, and all 0 where it holds nowhere."""
    lowest = jnp.finfo(jnp.float32).min / 2
    shares = jax.nn.softmax(jnp.where(valid, scores.astype(jnp.float32), lowest), axis=-1)
    return jnp.where(valid, shares, 0.0)


def cosine_shares(query: jax.Array, things: jax.Array, valid: jax.Array) -> jax.Array:
    """What share each thing has for a query: softmax over valid things of the cosine between the two.

    Args:
      query: [B, N, D].
      things: [B, K, D].
      valid: bool [B, K].

    Returns:
      float32 [B, N, K]: rows add up to 1, or are 0 where there is nothing.
    """
    cosines = jnp.einsum("bnd,bkd->bnk", unit(query), unit(things))
    return softmax_over(cosines, jnp.broadcast_to(valid[:, None, :], cosines.shape))
