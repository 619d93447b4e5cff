"""ResNeSt's split-attention block (ResNeSt: Split-Attention Networks, arXiv:2004.08955, figure 2 and section 3.2): radix 2, one group.

The network around it, deep stem included, is `ResNet` with `ResNetConfig.split`.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.encoders.convolution import ConvNorm, Norm, halving_pool, smooth_pool

RADIX = 2
LEAST = 32  # channels of the attention's hidden layer at least
EXPANSION = 4


class SplitAttention(nn.Module):
    """Two 3x3 convolutions, each of one half of the channels, mixed per channel by weights that their pooled sum gives.

    Submodules: `splits` (convolution of both), `squeeze` and `weigh` (the attention's two layers).
    """

    width: int
    norm: Norm
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """x [N, H, W, C] -> [N, H, W, width]."""
        unit = functools.partial(ConvNorm, norm=self.norm, dtype=self.dtype)
        splits = nn.relu(unit(RADIX * self.width, 3, groups=RADIX, name="splits")(x, train=train))
        splits = splits.reshape(*splits.shape[:3], RADIX, self.width)
        pooled = splits.sum(3).mean((1, 2), keepdims=True)
        hidden = nn.relu(unit(max(LEAST, self.width * RADIX // 4), 1, bias=True, name="squeeze")(pooled, train=train))
        scores = nn.Conv(RADIX * self.width, (1, 1), dtype=self.dtype, name="weigh")(hidden)
        scores = scores.reshape(-1, 1, 1, RADIX, self.width).astype(jnp.float32)
        return (splits * jax.nn.softmax(scores, axis=3).astype(self.dtype)).sum(3)


class SplitBottleneck(nn.Module):
    """1x1 `reduce`, split attention `split`, 1x1 `expand`, around a `shortcut`; strides are average pooling, never a convolution's."""

    width: int
    stride: int
    norm: Norm
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """x [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), 4 width]."""
        unit = functools.partial(ConvNorm, norm=self.norm, dtype=self.dtype)
        out = EXPANSION * self.width
        y = nn.relu(unit(self.width, 1, name="reduce")(x, train=train))
        y = SplitAttention(self.width, self.norm, self.dtype, name="split")(y, train=train)
        y = unit(out, 1, zero=True, name="expand")(smooth_pool(y) if self.stride == 2 else y, train=train)
        if x.shape[-1] != out:
            x = unit(out, 1, name="shortcut")(halving_pool(x) if self.stride == 2 else x, train=train)
        return nn.relu(x + y)
