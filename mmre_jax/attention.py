"""Scaled dot-product attention: the one implementation that every module uses.

Shape letters: B batch, Lq queries, Lk keys, Lx extra (prefix) keys, H heads, d head width, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax import cudnn
from mmre_jax.cudnn import Implementation
from mmre_jax.dropout import dropped

Dropped = Literal["weights", "values"]
DROPPED: tuple[Dropped, ...] = ("weights", "values")
KeysValues = tuple[jax.Array, jax.Array]  # [B, Lk, H, d] each

# A finite stand-in for minus infinity: exp(x - max) underflows to 0, while gradients stay free of inf - inf.
_MASKED = -0.7 * float(jnp.finfo(jnp.float32).max)


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
    dropout_at: Dropped = "weights",
    return_weights: bool = False,
    implementation: Implementation = "xla",
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """softmax(q k^T / sqrt(d) + bias) v (Vaswani et al. 2017, eq. 1), the softmax always in fp32.

    A query without a single valid key gets 0, and passes 0 gradients back; it never gets the mean of masked values.

    Args:
      q: [B, Lq, H, d].
      k: [B, Lk, H, d].
      v: [B, Lk, H, d].
      mask: bool, broadcastable to [B, H, Lq, Lk]; True where the query may see the key. None: it may see all.
      bias: float, broadcastable to [B, H, Lq, Lk], added to the scaled scores.
      dropout_rate: share of the weights dropped, in [0, 1).
      dropout_key: random key; needed where dropout_rate > 0.
      dropout_at: 'weights' draws for each weight; 'values' for each key of a head, once for all queries (as tensor2tensor's
        attention_dropout_broadcast_dims, Vaswani et al. 2018, arXiv 1803.07416), which is to drop its value: the mean is the same, the
        draws of different queries are no longer independent, and no weight need be seen.
      return_weights: also return the weights, before dropout.
      implementation: 'xla' writes the products down; 'cudnn' is its flash attention, for a GPU, bf16 and d a multiple of 8; 'auto' is cudnn
        on a GPU that has it, else xla. Where weights are asked for, or dropped one by one, it is xla.

    Returns:
      [B, Lq, H, d] in v's dtype, and with `return_weights` the weights, fp32 [B, H, Lq, Lk].

    Raises:
      ValueError: shapes that do not fit, a dropout rate outside [0, 1), dropout without a key, or cudnn for another dtype or width.
    """
    _check(q, k, v, dropout_rate, dropout_key)
    target = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    mask, bias = _four_axes("mask", mask, target), _four_axes("bias", bias, target)
    if dropout_rate > 0.0 and dropout_at == "values":
        v = dropped(v, dropout_rate, dropout_key, v.shape[:3])
    weighted = dropout_rate > 0.0 and dropout_at == "weights"
    if not return_weights and not weighted and cudnn.chosen(implementation, q):
        return cudnn.flash(q, k, v, mask, bias)
    # Heads before places: a product of XLA's CPU compiler wants them so, and writing them so once is cheaper than once for each product.
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    weights = _weights(q, k, mask, bias)
    kept = dropped(weights, dropout_rate, dropout_key) if weighted else weights
    out = jnp.einsum("bhqk,bhkd->bhqd", kept.astype(v.dtype), v).swapaxes(1, 2)
    return (out, weights) if return_weights else out


def kernel_init(std: float) -> nn.initializers.Initializer:
    """Normal of that standard deviation, as the published encoders start; for 0 truncated normal of 1 / sqrt(inputs), which learns faster
    from scratch in narrow models."""
    return nn.initializers.normal(std) if std else nn.initializers.lecun_normal()


def on_rows(dense: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """A dense layer of x [..., L, D], whose leading axes it sees as one: [..., L, D'].

    The numbers are the same. A kernel's gradient is then a product over one axis, which XLA's CPU compiler hands to its library as it lies;
    for a product over two it first writes both factors anew, transposed. On a TPU, whose rows lie in eights, an L that is no multiple of
    eight would have to be moved: there x stays as it is.
    """
    if _platform() == "tpu" and x.shape[-2] % 8:
        return dense(x)
    y = dense(x.reshape(-1, x.shape[-1]))
    return y.reshape(*x.shape[:-1], y.shape[-1])


def _platform() -> str:
    """Of the devices that what is being traced is for: those of the mesh, or JAX's own."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    return jax.default_backend() if device is None else device.platform


class MultiHeadAttention(nn.Module):
    """Multi-head attention with dense projections `query`, `key`, `value` and `out`, each kernel stored as [in, out].

    Where the collection "intermediates" is mutable the weights are sown there as "attention", fp32 [B, H, Lq, Lx + Lk].

    Attributes:
      width: D of the result, split over the heads.
      heads: H.
      dropout: rate on the weights, drawn from the "dropout" stream, when training.
      dtype: of the computation; parameters stay fp32.
      qkv_bias: whether query, key and value have biases.
      init_std: standard deviation of the initial kernels, 0 for one by fan-in (see `kernel_init`).
      implementation, dropout_at: passed to `attention`.
    """

    width: int
    heads: int
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32
    qkv_bias: bool = True
    init_std: float = 0.02
    implementation: Implementation = "xla"
    dropout_at: Dropped = "weights"

    def setup(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        init = kernel_init(self.init_std)
        self.query = nn.Dense(self.width, use_bias=self.qkv_bias, dtype=self.dtype, kernel_init=init)
        self.key = nn.Dense(self.width, use_bias=self.qkv_bias, dtype=self.dtype, kernel_init=init)
        self.value = nn.Dense(self.width, use_bias=self.qkv_bias, dtype=self.dtype, kernel_init=init)
        self.out = nn.Dense(self.width, dtype=self.dtype, kernel_init=init)

    def keys_values(self, context: jax.Array) -> KeysValues:
        """The keys and values, [B, Lk, H, d] each, that this layer makes of `context` [B, Lk, D']."""
        return self.keys(context), self._split(self.value, context)

    def keys(self, context: jax.Array) -> jax.Array:
        """The keys alone, [B, Lk, H, d]; a layer of which nothing else is asked for has no parameters of values."""
        return self._split(self.key, context)

    def __call__(
        self,
        x: jax.Array,
        context: jax.Array,
        mask: jax.Array | None = None,
        *,
        train: bool,
        prefix: KeysValues | None = None,
        prefix_mask: jax.Array | None = None,
        prefix_bias: float = 0.0,
        made: KeysValues | None = None,
    ) -> jax.Array:
        """Attends from x to [prefix; context]: `mixed` and the output projection; arguments, result and errors as there."""
        where = {"prefix": prefix, "prefix_mask": prefix_mask, "prefix_bias": prefix_bias, "made": made}
        return self.output(self.mixed(x, context, mask, train=train, **where))

    def output(self, mixed: jax.Array) -> jax.Array:
        """The output projection of what `mixed` gives, [B, Lq, D] -> [B, Lq, D]."""
        return on_rows(self.out, mixed)

    def mixed(
        self,
        x: jax.Array,
        context: jax.Array,
        mask: jax.Array | None = None,
        *,
        train: bool,
        prefix: KeysValues | None = None,
        prefix_mask: jax.Array | None = None,
        prefix_bias: float = 0.0,
        made: KeysValues | None = None,
    ) -> jax.Array:
        """What the heads found of [prefix; context], side by side: what the output projection takes in.

        Args:
          x: [B, Lq, D].
          context: [B, Lk, D'], any width; x itself for self-attention.
          mask: bool, [B, Lk] or broadcastable [., ., ., Lk] to [B, H, Lq, Lk]. None: all of the context is valid.
          train: whether dropout is on.
          prefix: extra keys and values, [B, Lx, H, d] each, that stand before the context's own.
          prefix_mask: the same as `mask` for the prefix, [B, Lx] or [., ., ., Lx].
          prefix_bias: added to the scaled scores of the prefix's keys.
          made: what `keys_values` makes of the context, where it has been asked: XLA would make them once, but not their gradients.

        Returns:
          [B, Lq, D] in `dtype`.

        Raises:
          ValueError: a prefix mask or bias without a prefix, or shapes that do not fit.
        """
        q = self._split(self.query, x)
        k, v = self.keys_values(context) if made is None else made
        bias = None
        if prefix is None and (prefix_mask is not None or prefix_bias):
            raise ValueError("prefix_mask or prefix_bias is given without a prefix")
        if prefix is not None:
            _check_prefix(prefix, k)
            mask = _join_masks(prefix_mask, mask, prefix[0].shape[1], k.shape[1])
            if prefix_bias:
                bias = jnp.concatenate([jnp.full(prefix[0].shape[1], prefix_bias), jnp.zeros(k.shape[1])])
            k = jnp.concatenate([prefix[0].astype(k.dtype), k], axis=1)
            v = jnp.concatenate([prefix[1].astype(v.dtype), v], axis=1)
        rate = self.dropout if train else 0.0
        dropout_key = self.make_rng("dropout") if rate > 0.0 else None
        sow = self.is_mutable_collection("intermediates") and not self.is_initializing()
        mixed = attention(
            q,
            k,
            v,
            mask=_per_key(mask),
            bias=bias,
            dropout_rate=rate,
            dropout_key=dropout_key,
            dropout_at=self.dropout_at,
            return_weights=sow,
            implementation=self.implementation,
        )
        if sow:
            mixed, weights = mixed
            self.sow("intermediates", "attention", weights)
        return mixed.reshape(*mixed.shape[:2], self.width)

    def _split(self, dense: nn.Dense, x: jax.Array) -> jax.Array:
        return on_rows(dense, x).reshape(*x.shape[:2], self.heads, self.width // self.heads)


def _check(q: jax.Array, k: jax.Array, v: jax.Array, dropout_rate: float, dropout_key: jax.Array | None) -> None:
    if q.ndim != 4 or k.ndim != 4 or k.shape != v.shape or q.shape[0] != k.shape[0] or q.shape[2:] != k.shape[2:]:
        raise ValueError(f"attention takes q [B, Lq, H, d] and k, v [B, Lk, H, d], found q {q.shape}, k {k.shape}, v {v.shape}")
    if not 0.0 <= dropout_rate < 1.0:
        raise ValueError(f"dropout_rate must lie in [0, 1), found {dropout_rate}")
    if dropout_rate > 0.0 and dropout_key is None:
        raise ValueError(f"dropout_rate is {dropout_rate} but no dropout_key is given")


def _check_prefix(prefix: KeysValues, own: jax.Array) -> None:
    for x in prefix:
        if x.ndim != 4 or x.shape != prefix[0].shape or (x.shape[0], *x.shape[2:]) != (own.shape[0], *own.shape[2:]):
            batch, _, heads, width = own.shape
            raise ValueError(f"a prefix is keys and values, [{batch}, Lx, {heads}, {width}] each, found {[list(y.shape) for y in prefix]}")


def _four_axes(name: str, x: jax.Array | None, target: tuple[int, ...]) -> jax.Array | None:
    if x is None:
        return None
    shape = (1,) * (4 - x.ndim) + x.shape
    if len(shape) != 4 or any(found not in (1, expected) for found, expected in zip(shape, target, strict=True)):
        raise ValueError(f"attention's {name} {x.shape} does not broadcast to [B, H, Lq, Lk] = {list(target)}")
    return x.reshape(shape)


def _weights(q: jax.Array, k: jax.Array, mask: jax.Array | None, bias: jax.Array | None) -> jax.Array:
    """fp32 [B, H, Lq, Lk], of q [B, H, Lq, d] and k [B, H, Lk, d]."""
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias.astype(jnp.float32)
    if mask is None:
        return jax.nn.softmax(scores, axis=-1)
    return jnp.where(mask, jax.nn.softmax(jnp.where(mask, scores, _MASKED), axis=-1), 0.0)


def _per_key(mask: jax.Array | None) -> jax.Array | None:
    return mask[:, None, None, :] if mask is not None and mask.ndim == 2 else mask


def _join_masks(prefix: jax.Array | None, own: jax.Array | None, prefix_keys: int, own_keys: int) -> jax.Array | None:
    if prefix is None and own is None:
        return None
    first = jnp.ones((1, 1, 1, prefix_keys), bool) if prefix is None else _per_key(prefix)
    second = jnp.ones((1, 1, 1, own_keys), bool) if own is None else _per_key(own)
    leading = jnp.broadcast_shapes(first.shape[:3], second.shape[:3])
    both = [jnp.broadcast_to(mask, (*leading, mask.shape[3])) for mask in (first, second)]
    return jnp.concatenate(both, axis=-1)
