"""cuDNN's flash attention (Dao 2023, arXiv 2307.08691) behind `mmre_jax.attention`: where it can be had, and what it needs.

Shape letters as there.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

Implementation = Literal["auto", "xla", "cudnn"]
IMPLEMENTATIONS: tuple[Implementation, ...] = ("auto", "xla", "cudnn")
WIDEST = 128  # head width that it takes on every GPU that it runs on
CAPABILITY = (8, 0)  # of the oldest of them (Ampere)


def chosen(implementation: Implementation, q: jax.Array) -> bool:
    """Whether attention from q [B, Lq, H, d] is to be cuDNN's.

    Raises:
      ValueError: where 'cudnn' is asked for and q's dtype or head width is none of its.
    """
    fits = q.dtype in (jnp.bfloat16, jnp.float16) and q.shape[3] % 8 == 0 and q.shape[3] <= WIDEST
    if implementation == "cudnn" and not fits:
        raise ValueError(f"attention=cudnn takes bfloat16 and heads of 8, 16 .. {WIDEST} channels, found {q.dtype} and {q.shape[3]}")
    return implementation == "cudnn" or (implementation == "auto" and fits and _is_there())


def _is_there() -> bool:
    if jax.default_backend() != "gpu":
        return False
    found = str(getattr(jax.local_devices()[0], "compute_capability", "0.0")).split(".")  # of AMD's GPUs it is a name
    return all(map(str.isdigit, found)) and tuple(map(int, found)) >= CAPABILITY


def flash(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, bias: jax.Array | None) -> jax.Array:
    """[B, Lq, H, d] of q, k, v [B, L, H, d], mask and bias [., ., ., .] that broadcast to [B, H, Lq, Lk]."""
    queries, keys = q.shape[1], k.shape[1]
    some = None if mask is None else mask.any(axis=-1, keepdims=True)
    if mask is not None:  # a row without keys sees all of them and is then dropped, so that no softmax is empty
        mask = mask | ~some
    # JAX lets it have even lengths alone, and a mask or bias that does not broadcast over places.
    mask = jnp.ones((1, 1, 1, keys), bool) if mask is None and keys % 2 else mask
    q, k, v = (jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0))) for x in (q, k, v))
    mask, bias = (None if x is None else _even(x, queries, keys) for x in (mask, bias))
    bias = None if bias is None else bias.astype(q.dtype)
    # JAX mixes dtypes in there, which strict promotion would refuse.
    with jax.numpy_dtype_promotion("standard"):
        out = jax.nn.dot_product_attention(q, k, v, bias=bias, mask=mask, implementation="cudnn")[:, :queries]
    if some is None:
        return out
    return jnp.where(some[..., 0].swapaxes(1, 2)[..., None], out, jnp.zeros((), out.dtype))


def _even(x: jax.Array, queries: int, keys: int) -> jax.Array:
    """x [., ., ., .] over all places, and a further query or key, masked or without bias, where they are odd in number."""
    whole = jnp.broadcast_to(x, (*x.shape[:2], queries, keys))
    return jnp.pad(whole, ((0, 0), (0, 0), (0, queries % 2), (0, keys % 2)))
