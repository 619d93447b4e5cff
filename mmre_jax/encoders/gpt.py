"""GPT-2 (Radford et al. 2019) and GPT-1 (Radford et al. 2018): causal transformers that read ids or given embeddings, at once or in
stages whose keys and values are kept.

Shape letters: B batch, L tokens, C cached places, H heads, d head width, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.attention import Dropped, KeysValues, MultiHeadAttention
from mmre_jax.cudnn import Implementation
from mmre_jax.dropout import Dropout
from mmre_jax.encoders.blocks import TABLE_STD, FeedForward, check_activation, float32_norm, layer_norm, renamed, run_layer
from mmre_jax.encoders.stages import Cache, extended, positions_of

Kind = Literal["gpt2", "gpt"]
# transformers' model types, and what they are here.
KINDS: dict[str, Kind] = {"gpt2": "gpt2", "openai-gpt": "gpt"}
# What transformers' GPT-1 calls its activations: its 'gelu' is the tanh approximation.
_GPT1_ACTIVATIONS = {"gelu": "gelu_new"}
# Switches of transformers' GPT-2 that change what is computed, with the only value that is supported.
_SWITCHES = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}


@dataclasses.dataclass(frozen=True)
class GptConfig:
    """Sizes of a GPT; the defaults are those of GPT-2 small (124 M parameters).

    Attributes:
      kind: 'gpt2' normalises before each half of a layer and once behind the last one, 'gpt' (GPT-1) after each half.
      vocab_size: rows of the word table, added marker tokens included.
      width: D.
      layers: number of layers.
      heads: attention heads a layer.
      mlp: width inside the feed-forward blocks.
      positions: rows of the position table.
      eps: of the layer normalisations.
      activation: of the feed-forward blocks.
      dropout: rate after the embeddings and after both halves of each layer.
      attention_dropout: rate on the attention weights.
      attention, attention_dropout_at: `implementation` and `dropout_at` of `mmre_jax.attention.attention`.
      init_std: standard deviation of initial tables and kernels, 0 for kernels by fan-in.
    """

    kind: Kind = "gpt2"
    vocab_size: int = 50257
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    positions: int = 1024
    eps: float = 1e-5
    activation: str = "gelu_new"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    attention: Implementation = "xla"
    attention_dropout_at: Dropped = "weights"
    init_std: float = 0.02

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.kind not in KINDS.values():
            raise ValueError(f"unknown kind of GPT {self.kind!r}; known are gpt2, gpt")
        if self.width % self.heads:
            raise ValueError(f"GPT's width {self.width} does not divide into {self.heads} heads")

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence that the position table has rows for."""
        return self.positions

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any]) -> GptConfig:
        """The configuration that a transformers config.json, read as a dict, describes: of a GPT-2 or a GPT-1.

        Raises:
          ValueError: another model type, an unsupported switch, or a missing key; it is named.
        """
        found = config.get("model_type")
        if found not in KINDS:
            raise ValueError(f"this is the configuration of a {found!r} model, expected model_type {', '.join(map(repr, KINDS))}")
        kind = KINDS[found]
        values = renamed(config, _names(kind), found)
        for switch, value in _SWITCHES.items():
            if kind == "gpt2" and config.get(switch, value) is not value:
                raise ValueError(f"{switch}={config[switch]} is not supported, only {value}")
        if kind == "gpt":
            values["activation"] = _GPT1_ACTIVATIONS.get(values["activation"], values["activation"])
        return cls(kind=kind, mlp=config.get("n_inner") or 4 * values["width"], **values)

    def to_transformers(self) -> dict[str, Any]:
        """The inverse of `from_transformers`.

        Raises:
          ValueError: for a GPT-1 that transformers does not have: its feed-forward blocks are four times as wide as its states, and of our
            activations it knows two.
        """
        names = _names(self.kind)
        values = {theirs: getattr(self, ours) for ours, theirs in names.items()}
        if self.kind == "gpt2":
            return {"model_type": "gpt2", "n_inner": self.mlp, "embd_pdrop": self.dropout, **values}
        if self.mlp != 4 * self.width:
            raise ValueError(f"transformers' GPT-1 has feed-forward blocks of width {4 * self.width}, here they are {self.mlp} wide")
        activations = {ours: theirs for theirs, ours in _GPT1_ACTIVATIONS.items()} | {"relu": "relu"}
        if self.activation not in activations:
            raise ValueError(f"transformers' GPT-1 has the activations {' and '.join(activations)}, here it is {self.activation}")
        values[names["activation"]] = activations[self.activation]
        return {"model_type": "openai-gpt", "embd_pdrop": self.dropout, **values}


def _names(kind: Kind) -> dict[str, str]:
    """{our name: its name in transformers' configuration} of what both have."""
    return {
        "vocab_size": "vocab_size",
        "width": "n_embd",
        "layers": "n_layer",
        "heads": "n_head",
        "positions": "n_positions",
        "eps": "layer_norm_epsilon",
        "activation": "activation_function" if kind == "gpt2" else "afn",
        "dropout": "resid_pdrop",
        "attention_dropout": "attn_pdrop",
        "init_std": "initializer_range",
    }


class GptLayer(nn.Module):
    """One transformer layer, [B, L, D] -> [B, L, D], and the keys and values of its own that it attended to."""

    config: GptConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, past: KeysValues | None, *, train: bool) -> tuple[jax.Array, KeysValues]:
        """x [B, L, D]; mask bool [B, 1, L, C + L], which of [past; x] each place may see; past [B, C, H, d] each."""
        config = self.config
        drop = Dropout(config.dropout, deterministic=not train)
        attention = MultiHeadAttention(
            config.width,
            config.heads,
            config.attention_dropout,
            self.dtype,
            init_std=config.init_std,
            implementation=config.attention,
            dropout_at=config.attention_dropout_at,
            name="attention",
        )
        mlp = FeedForward(config.mlp, config.activation, self.dtype, config.init_std, name="mlp")
        cached = 0 if past is None else past[0].shape[1]
        masks = {"mask": mask[..., cached:], "prefix_mask": mask[..., :cached] if cached else None}

        def attend(y: jax.Array) -> tuple[jax.Array, KeysValues]:
            own = attention.keys_values(y)
            return drop(attention(y, y, train=train, prefix=past, made=own, **masks)), own

        if config.kind == "gpt2":
            mixed, own = attend(layer_norm(x, config.eps, self.dtype, "attention_norm"))
            x = x + mixed
            return x + drop(mlp(layer_norm(x, config.eps, self.dtype, "mlp_norm"))), own
        mixed, own = attend(x)
        x = layer_norm(x + mixed, config.eps, self.dtype, "attention_norm")
        return layer_norm(x + drop(mlp(x)), config.eps, self.dtype, "mlp_norm"), own


class Gpt(nn.Module):
    """The model without a head. Attention weights are sown as "attention" where "intermediates" is mutable."""

    config: GptConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        config = self.config
        init = nn.initializers.normal(config.init_std or TABLE_STD)
        self.word = self.param("word", init, (config.vocab_size, config.width))
        self.position = self.param("position", init, (config.positions, config.width))
        self.layer = [GptLayer(config, self.dtype) for _ in range(config.layers)]  # layer_0, layer_1, ...
        if config.kind == "gpt2":
            self.norm = float32_norm(config.eps)
        self.drop = Dropout(config.dropout)

    def words(self, ids: jax.Array) -> jax.Array:
        """The word embeddings [B, L, D] of ids, int [B, L], without positions; NaN for an id outside the table."""
        return jnp.take(self.word, ids, axis=0)

    def __call__(
        self,
        words: jax.Array,
        mask: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        train: bool,
        cache: Cache | None = None,
    ) -> tuple[tuple[jax.Array, ...], Cache]:
        """Reads a stage: every place attends to the cached ones and, of its own, to itself and those before it.

        Args:
          words: [B, L, D], of `words` or of any other make.
          mask: bool [B, L], False on padding, which nothing attends to. None: no padding.
          positions: int [B, L] or [1, L]; where not given they count what is there (`stages.positions_of`).
          train: whether dropout is on; it draws from the "dropout" stream.
          cache: of the stages before.

        Returns:
          layers + 1 arrays [B, L, D]: the input with its positions, then each layer's output, of GPT-2 the last one normalised; and the
          cache for the next stage. States at padding are meaningless.

        Raises:
          ValueError: more places than the position table has rows.
        """
        batch, length = words.shape[:2]
        cached = 0 if cache is None else cache.mask.shape[1]
        if positions is None and cached + length > self.config.positions:
            raise ValueError(f"{cached + length} places exceed the language model's {self.config.positions} positions")
        mask = jnp.ones((batch, length), bool) if mask is None else mask
        positions = positions_of(mask, cache) if positions is None else positions
        places = jnp.broadcast_to(jnp.take(self.position, positions, axis=0), words.shape)
        states = [self.drop((words.astype(jnp.float32) + places).astype(self.dtype), deterministic=not train)]
        visible = jnp.tril(jnp.ones((length, length), bool))[None, None] & mask[:, None, None, :]
        if cache is not None:
            before = jnp.broadcast_to(cache.mask[:, None, None, :], (batch, 1, length, cached))
            visible = jnp.concatenate([before, visible], axis=-1)
        made = []
        for n, layer in enumerate(self.layer):
            past = None if cache is None else cache.layers[n]
            state, own = run_layer(layer, states[-1], train=train, mask=visible, past=past)
            states.append(state)
            made.append(own)
        if self.config.kind == "gpt2":
            states[-1] = self.norm(states[-1].astype(jnp.float32)).astype(self.dtype)
        return tuple(states), extended(cache, made, mask)
