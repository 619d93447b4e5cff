"""Gated fusion of a modality with what it found in the other one (QEOT, eq. 4)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


class GatedFusion(nn.Module):
    """gate = sigmoid(A H + B H_attn), H_out = (1 - gate) H + gate H_attn, a gate for every feature.

    As printed both terms of the gate hold H_attn. Each modality has matrices of its own, `own` (A) and `attended` (B). Where there was
    nothing to attend to (a record without a picture) there is nothing to gate: H_out = H, not a share of it.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, states: jax.Array, attended: jax.Array, found: jax.Array) -> jax.Array:
        """states, attended [B, N, D], found bool [B] (whether the other modality is there) -> [B, N, D]."""
        width = states.shape[-1]
        own = nn.Dense(width, use_bias=False, dtype=self.dtype, name="own")(states)
        other = nn.Dense(width, use_bias=False, dtype=self.dtype, name="attended")(attended)
        gate = jax.nn.sigmoid((own + other).astype(jnp.float32)).astype(self.dtype)
        return jnp.where(found[:, None, None], (1 - gate) * states + gate * attended, states)
