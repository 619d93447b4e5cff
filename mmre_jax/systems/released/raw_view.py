"""A reshape that several releases have where the splitting of heads was meant."""

from __future__ import annotations

import jax


def raw_view(x: jax.Array, heads: int) -> jax.Array:
    """The memory of [B, n, D] read as [B, H, n, d], in this library's order of axes: [B, n, H, d].

    Splitting heads gives head h of position i the entries h d to (h + 1) d of that position; here it gets, of the n D entries in a row,
    those from (h n + i) d on, which are another position's.
    """
    batch, count, width = x.shape
    return x.reshape(batch, heads, count, width // heads).swapaxes(1, 2)
