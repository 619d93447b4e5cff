"""BERT's encoder (Devlin et al. 2019), and RoBERTa's (Liu et al. 2019), which is also XLM-R's: transformers' models without the pooler.

Called alone it encodes a text. A system whose streams exchange keys and values between layers calls `embed` and then, layer by layer,
`keys_values` and `run_layer`; one that reads its input in stages calls `words` and `stage`.

Shape letters: B batch, L tokens, K places that are read of them, X prefix places, H heads, d head width, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.attention import KeysValues, MultiHeadAttention
from mmre_jax.dropout import Dropout
from mmre_jax.encoders.bert_config import KINDS, BertConfig
from mmre_jax.encoders.blocks import TABLE_STD, FeedForward, float32_norm, layer_norm, rows_at, run_layer
from mmre_jax.encoders.stages import Cache, extended, positions_of

__all__ = ["KINDS", "Bert", "BertConfig", "BertEmbeddings", "BertLayer", "Fuse"]

# From what a layer's heads found [B, L or K, D], before the output projection, to what joins its feed-forward block before the activation
# [B, L or K, mlp].
Fuse = Callable[[jax.Array], jax.Array]


class BertLayer(nn.Module):
    """One post-LayerNorm transformer layer, [B, L, D] -> [B, L, D], or [B, K, D] where K places alone are asked for."""

    config: BertConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.attention = MultiHeadAttention(
            self.config.width,
            self.config.heads,
            self.config.attention_dropout,
            self.dtype,
            init_std=self.config.init_std,
            implementation=self.config.attention,
            dropout_at=self.config.attention_dropout_at,
        )

    def keys_values(self, x: jax.Array) -> KeysValues:
        """The keys and values, [B, L, H, d] each, that this layer makes of its input x [B, L, D], as a prefix for another."""
        # Called without `made`, the layer makes them a second time: XLA makes them once, but not their gradients.
        return self.attention.keys_values(x)

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None,
        *,
        train: bool,
        prefix: KeysValues | None = None,
        prefix_mask: jax.Array | None = None,
        prefix_bias: float = 0.0,
        made: KeysValues | None = None,
        fuse: Fuse | None = None,
        at: jax.Array | None = None,
    ) -> jax.Array:
        """x [B, L, D]; mask bool, prefix [B, X, H, d] each, prefix_mask, prefix_bias and made as in `MultiHeadAttention`; see `Fuse`.

        at: int [B, K], the places that are asked for; queries, output and feed-forward block are computed there alone. None: all.
        """
        config = self.config
        drop = Dropout(config.dropout, deterministic=not train)
        where = {"prefix": prefix, "prefix_mask": prefix_mask, "prefix_bias": prefix_bias, "made": made}
        asked = rows_at(x, at)
        found = self.attention.mixed(asked, x, mask, train=train, **where)
        added = None if fuse is None else fuse(found)
        x = layer_norm(asked + drop(self.attention.output(found)), config.eps, self.dtype, "attention_norm")
        hidden = drop(FeedForward(config.mlp, config.activation, self.dtype, config.init_std, name="mlp")(x, added))
        return layer_norm(x + hidden, config.eps, self.dtype, "mlp_norm")


class BertEmbeddings(nn.Module):
    """Words + positions + token types, normalised: [B, L, D]. The tables are `word`, `position`, `type`."""

    config: BertConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        config = self.config
        init = nn.initializers.normal(config.init_std or TABLE_STD)
        self.word = self.param("word", init, (config.vocab_size, config.width))
        self.position = self.param("position", init, (config.positions, config.width))
        self.type = self.param("type", init, (config.types, config.width))
        self.norm = float32_norm(config.eps)
        self.drop = Dropout(config.dropout)

    def words(self, ids: jax.Array) -> jax.Array:
        """The rows of the word table [B, L, D] of ids, int [B, L]."""
        # `take` gives NaN for an index outside its table, where indexing would silently give the last row.
        return jnp.take(self.word, ids, axis=0)

    def __call__(self, words: jax.Array, types: jax.Array, positions: jax.Array, *, train: bool) -> jax.Array:
        """words [B, L, D], of `words` or of any other make; types int [B, L]; positions int [B, L] or [1, L]."""
        x = words.astype(jnp.float32) + jnp.take(self.type, types, axis=0)
        return self.normalised(x + jnp.broadcast_to(jnp.take(self.position, positions, axis=0), x.shape), train=train)

    def normalised(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Sums of embeddings, of these tables or of any other make, as layer 0 takes them in: fp32 [B, L, D] -> [B, L, D]."""
        return self.drop(self.norm(x).astype(self.dtype), deterministic=not train)


class Bert(nn.Module):
    """The encoder. Hidden states are also sown as "hidden", attention weights as "attention", where "intermediates" is mutable."""

    config: BertConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.embeddings = BertEmbeddings(self.config, self.dtype)
        # Flax names them layer_0, layer_1, ...
        self.layer = [BertLayer(self.config, self.dtype) for _ in range(self.config.layers)]

    def __call__(
        self,
        ids: jax.Array,
        mask: jax.Array | None,
        types: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        train: bool,
        prefixes: Sequence[KeysValues] | None = None,
        prefix_mask: jax.Array | None = None,
        at: jax.Array | None = None,
    ) -> tuple[jax.Array, ...]:
        """Encodes a batch of token sequences.

        Args:
          ids: int [B, L]. An id outside the word table gives NaN states, as do types and positions outside theirs.
          mask: bool [B, L], True on tokens and False on padding, which is never attended to. None: no padding.
          types: int [B, L], token types; 0 where not given.
          positions: int [B, L] or [1, L]; where not given they follow the configuration's `kind`.
          train: whether dropout is on; it draws from the "dropout" stream.
          prefixes: one pair for each layer, extra keys and values [B, X, H, d] each that its tokens attend to before their own.
          prefix_mask: bool [B, X], which of them may be attended to. None: all.
          at: int [B, K], the places at which the last layer's states are read; they are computed there alone. None: everywhere.

        Returns:
          layers + 1 arrays [B, L, D]: the embedded text, then each layer's output, of the last [B, K, D] with `at`. States at padding are
          meaningless.

        Raises:
          ValueError: sequences longer than the position table has room for, or prefixes that do not fit the layers.
        """
        if prefixes is not None and len(prefixes) != self.config.layers:
            raise ValueError(f"a text encoder of {self.config.layers} layers takes as many prefixes, found {len(prefixes)}")
        states = [self.embed(ids, mask, types, positions, train=train)]
        for n in range(self.config.layers):
            prefix, last = None if prefixes is None else prefixes[n], n == self.config.layers - 1
            where = {"prefix": prefix, "prefix_mask": prefix_mask, "at": at if last else None}
            states.append(self.run_layer(n, states[-1], mask, train=train, **where))
        return tuple(states) if self.config.layers else (rows_at(states[0], at),)

    def embed(
        self,
        ids: jax.Array,
        mask: jax.Array | None,
        types: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        train: bool,
    ) -> jax.Array:
        """The embedded text [B, L, D], what layer 0 takes in; arguments and errors as in `__call__`."""
        length = ids.shape[1]
        if positions is None and length > self.config.max_length:
            raise ValueError(f"sequences of {length} tokens exceed the text encoder's {self.config.max_length} positions")
        types = jnp.zeros_like(ids) if types is None else types
        positions = self._positions(ids, mask) if positions is None else positions
        return self._sown(self.embeddings(self.words(ids), types, positions, train=train))

    def words(self, ids: jax.Array) -> jax.Array:
        """The word embeddings [B, L, D] of ids, int [B, L], before anything is added to them."""
        return self.embeddings.words(ids)

    def beside(self, x: jax.Array, *, train: bool) -> jax.Array:
        """What is no token, x [B, K, D] with all that is to be added to it, as it stands beside embedded tokens: normalised as they are."""
        return self.embeddings.normalised(x.astype(jnp.float32), train=train)

    def stage(
        self, words: jax.Array, mask: jax.Array, *, train: bool, cache: Cache | None = None, lengths: Sequence[int] | None = None
    ) -> tuple[tuple[jax.Array, ...], Cache]:
        """Reads a stage: every place attends to the cached ones and to all of its own.

        Args:
          words: [B, L, D], of `words` or of any other make.
          mask: bool [B, L], False on padding, which nothing attends to.
          train: whether dropout is on; it draws from the "dropout" stream.
          cache: of the stages before. Positions count what is there, behind theirs (`stages.positions_of`).
          lengths: L as the lengths of several stages that are read in one pass; None: it is one.

        Returns:
          layers + 1 arrays [B, L, D] as of `__call__`, and the cache for the next stage.

        Raises:
          ValueError: more places than the position table has room for.
        """
        length = mask.shape[1] + (0 if cache is None else cache.mask.shape[1])
        if length > self.config.max_length:
            raise ValueError(f"{length} places exceed the text encoder's {self.config.max_length} positions")
        positions = positions_of(mask, cache) + self.config.first_position
        states = [self._sown(self.embeddings(words, jnp.zeros_like(positions), positions, train=train))]
        seen = mask
        if lengths is not None:
            of_place = jnp.repeat(jnp.arange(len(lengths)), jnp.array(lengths), total_repeat_length=mask.shape[1])
            seen = mask[:, None, None, :] & (of_place[None, :] <= of_place[:, None])[None, None]
        made = []
        for n in range(self.config.layers):
            made.append(self.keys_values(n, states[-1]))
            past = {} if cache is None else {"prefix": cache.layers[n], "prefix_mask": cache.mask}
            states.append(self.run_layer(n, states[-1], seen, train=train, made=made[-1], **past))
        return tuple(states), extended(cache, made, mask)

    def keys_values(self, n: int, x: jax.Array) -> KeysValues:
        """The keys and values, [B, L, H, d] each, that layer n makes of its input x [B, L, D]."""
        return self.layer[n].keys_values(x)

    def run_layer(
        self,
        n: int,
        x: jax.Array,
        mask: jax.Array | None,
        *,
        train: bool,
        prefix: KeysValues | None = None,
        prefix_mask: jax.Array | None = None,
        prefix_bias: float = 0.0,
        made: KeysValues | None = None,
        fuse: Fuse | None = None,
        at: jax.Array | None = None,
    ) -> jax.Array:
        """Layer n of x [B, L, D], see `BertLayer`: [B, L, D], or [B, K, D] at the places `at`."""
        where = {"mask": mask, "prefix": prefix, "prefix_mask": prefix_mask, "made": made, "at": at}
        if fuse is not None:  # of each layer another
            return self._sown(self.layer[n](x, train=train, prefix_bias=prefix_bias, **where, fuse=fuse))
        return self._sown(run_layer(self.layer[n], x, train=train, fixed={"prefix_bias": prefix_bias}, **where))

    def _positions(self, ids: jax.Array, mask: jax.Array | None) -> jax.Array:
        first = self.config.first_position
        if self.config.kind == "bert" or mask is None:
            return jnp.arange(first, first + ids.shape[1], dtype=ids.dtype)[None]
        return jnp.where(mask, jnp.cumsum(mask, axis=1, dtype=ids.dtype) + (first - 1), self.config.pad_id)

    def _sown(self, state: jax.Array) -> jax.Array:
        if not self.is_initializing():
            self.sow("intermediates", "hidden", state)
        return state
