"""Dual-gated fusion (DGF-PT, section 4.2): a local gate from the objects and a global one from the image, on every token of the text.

Departures from the paper as printed (cosines over their sum are undefined where that is near 0; h_i [M, D] and h_t [L, D] do not fit):
eq. 4 is a softmax over the objects that are there, its h_t the mean over the text's tokens; eq. 6 takes the mean of h_i over its blocks.
A record without objects has beta = 0, one without a picture gamma = 0, and one with neither keeps its text as it is.

Shape letters: B batch, L tokens, K objects, M blocks of the image, D width.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.encoders.blocks import FeedForward
from mmre_jax.fusion.query_transformer import masked_mean
from mmre_jax.fusion.similarity import cosine_shares

GATES = ("|gamma|", "|beta|", "max alpha")  # what is told of the gates, one number a record each


class DualGate(nn.Module):
    """Eq. 4-7. Submodules: `beta` and `gamma`, dense, and `mlp`, whose hidden layer is as wide as the text."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        text: jax.Array,
        words: jax.Array,
        image: jax.Array,
        seen: jax.Array,
        objects: jax.Array | None = None,
        there: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Fuses the picture into the text.

        Args:
          text: h_t [B, L, D].
          words: bool [B, L], False on padding.
          image: h_i [B, M, D].
          seen: bool [B], whether the record has a picture.
          objects: h_o [B, K, D]; None for a system without objects.
          there: bool [B, K], with `objects`: which of them there are.

        Returns:
          h~_t [B, L, D], and for each record what GATES names, float32 [B, 3]: the mean absolute value of gamma's and of beta's
          entries, and the largest of alpha.
        """
        width = text.shape[-1]
        gamma = jnp.tanh(nn.Dense(width, dtype=self.dtype, name="gamma")(image.mean(axis=1)))  # eq. 6
        gamma = jnp.where(seen[:, None], gamma, jnp.zeros((), gamma.dtype))
        beta, alpha, some = jnp.zeros_like(gamma), jnp.zeros((len(text), 1), jnp.float32), seen
        if objects is not None:
            alpha = cosine_shares(masked_mean(text, words)[:, None], objects, there)[:, 0]  # eq. 4, [B, K]
            mean = jnp.einsum("bk,bkd->bd", alpha.astype(objects.dtype), objects)
            beta = nn.Dense(width, dtype=self.dtype, name="beta")(mean)  # eq. 5
            beta = jnp.where(there.any(axis=1)[:, None], beta, jnp.zeros((), beta.dtype))
            some = seen | there.any(axis=1)
        change = FeedForward(width, "gelu", self.dtype, init_std=0.0, name="mlp")(text * gamma[:, None] + beta[:, None])
        fused = text + jnp.where(some[:, None, None], change, jnp.zeros((), change.dtype))  # eq. 7
        told = [jnp.abs(gate.astype(jnp.float32)).mean(axis=-1) for gate in (gamma, beta)]
        return fused, jnp.stack([*told, alpha.max(axis=-1)], axis=-1)


def add_caption(text: jax.Array, caption: jax.Array, there: jax.Array, delta: float) -> jax.Array:
    """Eq. 8: h~_t + delta h_i2t on every token, delta being 0 for a record without a caption.

    Args:
      text: h~_t [B, L, D].
      caption: h_i2t [B, D], what the caption says of the image.
      there: bool [B], whether there is one.
    """
    return text + jnp.where(there[:, None], delta * caption, jnp.zeros((), caption.dtype))[:, None].astype(text.dtype)
