"""One stream over words and regions of pictures (VisualBERT, Li et al. 2019, arXiv 1908.03557, section 3.2): what regions are to a BERT.

Shape letters: B batch, L tokens, P regions, K places that are read, C features of a region, D width.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.attention import kernel_init
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.blocks import TABLE_STD, rows_at


class RegionEmbeddings(nn.Module):
    """A region's embedding: its projected features, the segment of regions and their position, before the stream's normalisation.

    The published model has tables of segments and positions for regions, of which it reads one row each where no region is aligned with a
    word: segment 1 and position 0. So there is one vector of each here, `type` and `position`; where a region lies is not said. The
    result is sown as "embedded" where "intermediates" is mutable.
    """

    config: BertConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Features [B, P, C] -> fp32 [B, P, D]."""
        width, std = self.config.width, self.config.init_std
        table = nn.initializers.normal(std or TABLE_STD)
        x = nn.Dense(width, dtype=self.dtype, kernel_init=kernel_init(std), name="project")(features).astype(jnp.float32)
        x = x + (self.param("type", table, (width,)) + self.param("position", table, (width,)))[None, None]
        if not self.is_initializing():
            self.sow("intermediates", "embedded", x)
        return x


def single_stream(
    bert: Bert,
    text: jax.Array,
    mask: jax.Array,
    regions: jax.Array | None,
    there: jax.Array | None,
    *,
    train: bool,
    at: jax.Array | None = None,
) -> jax.Array:
    """The last states of a stream of words and, behind them, regions.

    Args:
      bert: unapplied, a part of the calling module.
      text: ids int [B, L].  mask: bool [B, L].
      regions: [B, P, D] of `RegionEmbeddings`.  there: bool [B, P], which of them there are; nothing attends to the others. None: words
        alone.
      at: int [B, K], the places of the words at which the last states are read; they are computed there alone. None: everywhere.

    Returns:
      [B, L + P, D], or [B, K, D] with `at`. States at padding and at absent regions are meaningless.
    """
    x = bert.embed(text, mask, train=train)
    if regions is not None:
        x = jnp.concatenate([x, bert.beside(regions, train=train)], axis=1)
        mask = jnp.concatenate([mask, there], axis=1)
    layers = bert.config.layers
    for n in range(layers):
        x = bert.run_layer(n, x, mask, train=train, at=at if n == layers - 1 else None)
    return x if layers else rows_at(x, at)
