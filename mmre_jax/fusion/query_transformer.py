"""Query-based transformer (QEOT, section 3.3 and figure 5): DETR's encoder and decoder (Carion et al. 2020), LayerNorm after each part.

Positions enter, if at all, with the sequence, and the queries once, as what enters the decoder: the residual stream keeps both, and what a
query reads from a cell then says where the cell is. (DETR adds both to queries and keys of every attention, never to values.)

Shapes: B batch, P cells or tokens of the fused sequence, Q queries, N layers whose states are read, D width.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.attention import MultiHeadAttention
from mmre_jax.dropout import Dropout
from mmre_jax.encoders.blocks import FeedForward, layer_norm

NORM_EPS = 1e-5  # DETR's; the paper states none


@dataclasses.dataclass(frozen=True)
class TransformerSizes:
    """Sizes of every encoder and decoder layer; `dropout` is the rate on attention weights and after each part of a layer."""

    heads: int = 8
    mlp: int = 2048
    dropout: float = 0.1


class _Layer(nn.Module):
    """The parts of a layer, each x -> LayerNorm(x + part(x))."""

    sizes: TransformerSizes
    dtype: DTypeLike = jnp.float32

    def attend(self, name: str, x: jax.Array, context: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        """The part `name`: attention from x [B, Lq, D] to context [B, Lk, D] under mask bool [B, Lk]."""
        sizes, width = self.sizes, x.shape[-1]
        attention = MultiHeadAttention(width, sizes.heads, sizes.dropout, self.dtype, init_std=0.0, name=name)
        return self.close(name, x, attention(x, context, mask, train=train), train)

    def feed(self, x: jax.Array, train: bool) -> jax.Array:
        """The feed-forward part of x [B, Lq, D]."""
        return self.close("mlp", x, FeedForward(self.sizes.mlp, "relu", self.dtype, init_std=0.0, name="mlp")(x), train)

    def close(self, name: str, x: jax.Array, change: jax.Array, train: bool) -> jax.Array:
        """LayerNorm(x + dropout(change)), as the submodule `{name}_norm`."""
        change = Dropout(self.sizes.dropout, deterministic=not train)(change)
        return layer_norm(x + change, NORM_EPS, self.dtype, f"{name}_norm")


class EncoderLayer(_Layer):
    """Self-attention and feed-forward network."""

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, *, train: bool) -> jax.Array:
        """x [B, P, D], mask bool [B, P] -> [B, P, D]."""
        return self.feed(self.attend("attention", x, x, mask, train), train)


class DecoderLayer(_Layer):
    """Self-attention among the queries, cross-attention to the encoded sequence, feed-forward network."""

    @nn.compact
    def __call__(self, queries: jax.Array, memory: jax.Array, mask: jax.Array, *, train: bool) -> jax.Array:
        """queries [B, Q, D], memory [B, P, D], mask bool [B, P] -> [B, Q, D]."""
        if queries.shape[1] > 1:  # one query alone has none to discern itself from
            queries = self.attend("attention", queries, queries, None, train)
        return self.feed(self.attend("cross", queries, memory, mask, train), train)


class Encoder(nn.Module):
    """`layers` encoder layers; with 0 the sequence passes unchanged."""

    layers: int
    sizes: TransformerSizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, *, train: bool) -> jax.Array:
        """x [B, P, D], mask bool [B, P] -> [B, P, D]. States at masked places are meaningless."""
        for n in range(self.layers):
            x = EncoderLayer(self.sizes, self.dtype, name=f"layer_{n}")(x, mask, train=train)
        return x


class Decoder(nn.Module):
    """Q learnt queries that read the encoded sequence. Each layer's cross-attention is sown as `layer_n/cross/attention`."""

    queries: int
    layers: int
    sizes: TransformerSizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, memory: jax.Array, mask: jax.Array, *, train: bool) -> jax.Array:
        """memory [B, P, D], mask bool [B, P] -> the queries after every layer, [layers, B, Q, D]."""
        first = self.param("queries", nn.initializers.normal(1.0), (self.queries, memory.shape[-1]))
        x = jnp.broadcast_to(first.astype(self.dtype)[None], (memory.shape[0], *first.shape))
        states = []
        for n in range(self.layers):
            x = DecoderLayer(self.sizes, self.dtype, name=f"layer_{n}")(x, memory, mask, train=train)
            states.append(x)
        return jnp.stack(states)


class Slots(nn.Module):
    """The ablation "w/o query": Q fixed outputs, each a linear map of the pooled features."""

    queries: int
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pooled: jax.Array) -> jax.Array:
        """pooled [B, E] -> [1, B, Q, D]."""
        flat = nn.Dense(self.queries * self.width, dtype=self.dtype, name="slots")(pooled)
        return flat.reshape(1, len(pooled), self.queries, self.width)


def masked_mean(x: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean of x [B, P, D] over places where mask bool [B, P] holds, [B, D]; 0 where it holds nowhere."""
    total = jnp.where(mask[..., None], x.astype(jnp.float32), 0.0).sum(axis=1)
    return (total / jnp.maximum(mask.sum(axis=1, dtype=jnp.float32), 1.0)[:, None]).astype(x.dtype)
