"""Mixture of multimodal experts over hierarchical visual features (HVFormer, section 3.4).

Shapes: B batch, L tokens (all of a text, or those that are read), P patches, N levels, E = N + 1 experts, D text width, V vision width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.attention import MultiHeadAttention
from mmre_jax.encoders.blocks import layer_norm

NORM_EPS = 1e-5  # as released; the paper states none


class TextGuidedAttention(nn.Module):
    """Textual-guided visual attention, TVA (eq. 4-5): text queries attend to one level of the image.

    A text without any visible patch gets LayerNorm(bias of the output projection): a constant, whatever the pixels.
    """

    width: int
    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, text: jax.Array, level: jax.Array, mask: jax.Array | None) -> jax.Array:
        """text [B, L, D], level [B, P, V], mask bool [B, P] or None -> [B, L, D]."""
        keys = None if mask is None else mask[:, None, None, :]
        attend = MultiHeadAttention(self.width, self.heads, dtype=self.dtype, init_std=0.0, name="attention")
        attended = attend(text, level, keys, train=False)
        return layer_norm(attended, NORM_EPS, self.dtype, "norm")


class MixtureOfExperts(nn.Module):
    """Experts (eq. 6) weighted per token by a router (eq. 9-10), or, without the mixture, one feed-forward network over all of them.

    mixture: 'experts', or 'concat' for the ablation "w/o MoME": FFN([T; C_1; ...; C_N]).
    biases: the released code's experts have none.
    """

    mixture: Literal["experts", "concat"] = "experts"
    biases: bool = True
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, text: jax.Array, visual: Sequence[jax.Array]) -> jax.Array:
        """text [B, L, D], N visual features [B, L, D] -> [B, L, D]."""
        width = text.shape[-1]
        experts = self._experts(text, jnp.stack(visual, axis=2))  # [B, L, N, D]
        if self.mixture == "concat":
            joined = jnp.concatenate([text, *jnp.unstack(experts, axis=2)], axis=-1)
            hidden = nn.gelu(nn.Dense(width, dtype=self.dtype, name="concat_in")(joined), approximate=False)
            return nn.Dense(width, dtype=self.dtype, name="concat_out")(hidden)
        routed = nn.Dense(len(visual) + 1, dtype=self.dtype, name="router")(jnp.concatenate([text, *visual], axis=-1))
        weights = jax.nn.softmax(routed.astype(jnp.float32), axis=-1)  # [B, L, E], the text-only expert first
        for collection in ("intermediates", "told"):
            if self.is_mutable_collection(collection) and not self.is_initializing():
                self.sow(collection, "expert_weights", weights)
        choices = jnp.concatenate([text[:, :, None], experts], axis=2)  # [B, L, E, D]
        return jnp.einsum("ble,bled->bld", weights.astype(choices.dtype), choices)

    def _experts(self, text: jax.Array, visual: jax.Array) -> jax.Array:
        """C_l = h([T; V_l] W_1 + b_1) W_2 + b_2 + T for all levels at once: text [B, L, D], visual [B, L, N, D] -> [B, L, N, D]."""
        levels, width = visual.shape[2:]
        init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", batch_axis=(0,))
        first = self.param("experts_in", init, (levels, 2 * width, width)).astype(self.dtype)
        second = self.param("experts_out", init, (levels, width, width)).astype(self.dtype)
        # The text's half of [T; V_l] W_1 reads T once a level without copying it beside every V_l.
        hidden = jnp.einsum("bld,ndf->blnf", text, first[:, :width]) + jnp.einsum("blnd,ndf->blnf", visual, first[:, width:])
        if self.biases:
            hidden = hidden + self.param("experts_in_bias", nn.initializers.zeros, (levels, width)).astype(self.dtype)[None, None]
        outputs = jnp.einsum("blnd,ndf->blnf", nn.gelu(hidden, approximate=False), second)
        if self.biases:
            outputs = outputs + self.param("experts_out_bias", nn.initializers.zeros, (levels, width)).astype(self.dtype)[None, None]
        return outputs + text[:, :, None]


def expert_names(levels: Sequence[int]) -> tuple[str, ...]:
    """What the E experts are called, in the order of their weights: the text-only one, then one a level."""
    return ("text", *(str(level) for level in levels))


def marked_weights(sown: Mapping[str, Any], levels: Sequence[int]) -> dict[str, jax.Array]:
    """{'expert_text': [B], 'expert_0': [B], ...}: each expert's weight, the mean of those at the two markers (HVFormer, figure 9).

    Args:
      sown: what a network with a `MixtureOfExperts` called "mome" sowed as "told": weights float [B, 2, E] at the markers, which is where
        it reads its text.
    """
    weights = sown["mome"]["expert_weights"][0].mean(axis=1)
    return {f"expert_{name}": weights[:, place] for place, name in enumerate(expert_names(levels))}
