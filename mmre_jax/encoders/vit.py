"""Vision transformers in two dialects: ViT (Dosovitskiy et al. 2021) and CLIP's vision tower (Radford et al. 2021).

A picture is read as one or more sequences of patches: the photo, and crops of it at their own resolution, each with a
position table of its own and all through one patch embedding.

Called alone the encoder reads pictures. A system whose streams exchange keys and values between layers calls `embed` and then, layer by
layer, `keys_values` and `run_layer`.

Shape letters: B batch, K pictures of a sequence, S side in pixels, P all patches and CLS, n patches of one picture, X prefix places,
H heads, d head width, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mmre_jax.attention import KeysValues, MultiHeadAttention, kernel_init
from mmre_jax.dropout import Dropout
from mmre_jax.encoders.blocks import TABLE_STD, FeedForward, float32_norm, layer_norm, rows_at, run_layer
from mmre_jax.encoders.vit_config import PHOTO, ImageSequence, ViTConfig

__all__ = ["PHOTO", "ImageSequence", "ViT", "ViTConfig", "ViTLayer", "patch_mask", "sine_table"]


def patch_mask(config: ViTConfig, present: Mapping[str, jax.Array]) -> jax.Array:
    """Which places of the patch sequence are valid, from which pictures are there.

    Args:
      config: names the sequences.
      present: for each sequence bool [B, K].

    Returns:
      bool [B, P]: the patches of present pictures, and CLS where anything is present.

    Raises:
      ValueError: sequences missing, unknown or of another shape.
    """
    _check_names(config, present, "present")
    for sequence in config.sequences:
        found = present[sequence.name].shape
        if len(found) != 2 or found[1] != sequence.count:
            raise ValueError(f"present[{sequence.name!r}] is [B, {sequence.count}], found {list(found)}")
    patches = [jnp.repeat(jnp.asarray(present[s.name]), config.grid(s) ** 2, axis=1) for s in config.sequences]
    patches = jnp.concatenate(patches, axis=1)
    return jnp.concatenate([patches.any(axis=1, keepdims=True), patches], axis=1)


def sine_table(side: int, width: int) -> np.ndarray:
    """The 2-D sine position table of a grid, float32 [side * side, width], row-major, values in [-1, 1].

    Half of the width tells the row, half the column: sines and cosines of place / 10000^(4 i / width), i < width / 4.

    Raises:
      ValueError: a width that does not divide by 4.
    """
    if width % 4:
        raise ValueError(f"a 2-D sine table needs a width divisible by 4, found {width}")
    rates = 10000.0 ** (-np.arange(width // 4) / (width / 4))
    waves = np.arange(side)[:, None] * rates  # [side, D/4]
    line = np.concatenate([np.sin(waves), np.cos(waves)], axis=1)  # [side, D/2]
    rows = np.broadcast_to(line[:, None], (side, side, width // 2))
    columns = np.broadcast_to(line[None], (side, side, width // 2))
    return np.concatenate([rows, columns], axis=2).reshape(side * side, width).astype(np.float32)


class PatchEmbedding(nn.Module):
    """A convolution whose stride is its kernel: [B, K, S, S, 3] -> [B, K * n, D], pictures in order, patches row-major."""

    config: ViTConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        patch, width = self.config.patch, self.config.width
        self.kernel = self.param("kernel", kernel_init(self.config.init_std), (patch, patch, 3, width))
        if self.config.style.patch_bias:
            self.bias = self.param("bias", nn.initializers.zeros, (width,))

    def __call__(self, pixels: jax.Array) -> jax.Array:
        batch, count, side = pixels.shape[:3]
        patch, grid = self.config.patch, pixels.shape[2] // self.config.patch
        if grid * patch != side:  # as a convolution without padding, which leaves a last part of a patch unread
            pixels = pixels[:, :, : grid * patch, : grid * patch]
        pixels = pixels.astype(self.dtype).reshape(batch, count, grid, patch, grid, patch, 3)
        pixels = pixels.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, count * grid * grid, patch * patch * 3)
        x = pixels @ self.kernel.astype(self.dtype).reshape(-1, self.config.width)
        return x + self.bias.astype(self.dtype)[None, None] if self.config.style.patch_bias else x


class ViTEmbeddings(nn.Module):
    """CLS and patches with their positions: {name: [B, K, S, S, 3]} -> [B, P, D].

    Parameters: `cls` [D], `patch`, and `position_<name>` for each sequence, [1 + n, D] for the photo, whose first row is
    CLS's, and [K * n, D] for any other.
    """

    config: ViTConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pixels: Mapping[str, jax.Array]) -> jax.Array:
        config = self.config
        embed = PatchEmbedding(config, self.dtype, name="patch")
        cls = self.param("cls", nn.initializers.normal(config.init_std or TABLE_STD), (config.width,))[None, None]
        parts = []
        for sequence in config.sequences:
            rows = config.patches(sequence) + (1 if sequence.name == PHOTO else 0)
            table = self.param(f"position_{sequence.name}", self._position_init(sequence), (rows, config.width))
            if sequence.name == PHOTO:
                cls, table = cls + table[None, :1], table[1:]
            parts.append(embed(pixels[sequence.name]) + table.astype(self.dtype)[None])
        first = jnp.broadcast_to(cls.astype(self.dtype), (parts[0].shape[0], 1, config.width))
        return jnp.concatenate([first, *parts], axis=1)

    def _position_init(self, sequence: ImageSequence) -> nn.initializers.Initializer:
        if self.config.position_init == "normal":
            return nn.initializers.normal(self.config.init_std or TABLE_STD)
        table = np.tile(sine_table(self.config.grid(sequence), self.config.width), (sequence.count, 1))
        if sequence.name == PHOTO:
            table = np.concatenate([np.zeros((1, self.config.width), np.float32), table])
        return lambda key, shape, dtype=jnp.float32: jnp.asarray(table, dtype).reshape(shape)


class ViTLayer(nn.Module):
    """One pre-LayerNorm transformer layer, [B, P, D] -> [B, P, D], or [B, n, D] where n places alone are asked for."""

    config: ViTConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.attention_norm = float32_norm(self.config.style.eps)
        self.attention = MultiHeadAttention(
            self.config.width,
            self.config.heads,
            self.config.attention_dropout,
            self.dtype,
            qkv_bias=self.config.qkv_bias,
            init_std=self.config.init_std,
            implementation=self.config.attention,
        )

    def keys_values(self, x: jax.Array) -> KeysValues:
        """The keys and values, [B, P, H, d] each, that this layer makes of its input x [B, P, D], which it normalises first."""
        # Called without `made`, the layer makes them a second time: XLA makes them once, but not their gradients.
        return self.attention.keys_values(self._normed(x))

    def keys(self, x: jax.Array) -> jax.Array:
        """The keys alone of `keys_values`, [B, P, H, d]."""
        return self.attention.keys(self._normed(x))

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
        at: jax.Array | None = None,
    ) -> jax.Array:
        """x [B, P, D]; mask bool, prefix [B, X, H, d] each, prefix_mask, prefix_bias and made as in `MultiHeadAttention`.

        at: int [B, n], the places that are asked for; queries, output and feed-forward block are computed there alone. None: all.
        """
        config, style = self.config, self.config.style
        drop = Dropout(config.dropout, deterministic=not train)
        where = {"prefix": prefix, "prefix_mask": prefix_mask, "prefix_bias": prefix_bias, "made": made}
        normed = self._normed(x)
        x = rows_at(x, at) + drop(self.attention(rows_at(normed, at), normed, mask, train=train, **where))
        normed = layer_norm(x, style.eps, self.dtype, "mlp_norm")
        return x + drop(FeedForward(config.mlp, style.activation, self.dtype, config.init_std, name="mlp")(normed))

    def _normed(self, x: jax.Array) -> jax.Array:
        return self.attention_norm(x.astype(jnp.float32)).astype(self.dtype)


class ViT(nn.Module):
    """The encoder. Hidden states are also sown as "hidden", attention weights as "attention", where "intermediates" is mutable."""

    config: ViTConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.embeddings = ViTEmbeddings(self.config, self.dtype)
        # Flax names them layer_0, layer_1, ...
        self.layer = [ViTLayer(self.config, self.dtype) for _ in range(self.config.layers)]
        if self.config.final_norm:
            self.final_norm = float32_norm(self.config.style.eps)

    def __call__(
        self, pixels: Mapping[str, jax.Array], mask: jax.Array | None, *, train: bool, at: jax.Array | None = None
    ) -> tuple[jax.Array, ...]:
        """Encodes the pictures of a batch.

        Args:
          pixels: for each sequence of the configuration float [B, K, S, S, 3], already normalised.
          mask: bool [B, P], see `patch_mask`. Masked patches are never attended to, and their states are 0 in every
            layer, so that what they hold cannot reach any output. None: everything is attended to.
          train: whether dropout is on; it draws from the "dropout" stream.
          at: int [B, n], the places at which the last layer's states are read; they are computed there alone. None: everywhere.

        Returns:
          layers + 1 arrays [B, P, D], CLS first, then the sequences in order: the embedded (in CLIP also normalised)
          sequence, then each layer's output, the last one normalised where `final_norm` is set, and [B, n, D] with `at`.

        Raises:
          ValueError: sequences or a mask that do not fit the configuration.
        """
        states = [self.embed(pixels, mask, train=train)]
        for n in range(self.config.layers):
            states.append(self.run_layer(n, states[-1], mask, train=train, at=at if n == self.config.layers - 1 else None))
        return tuple(states) if self.config.layers else (rows_at(states[0], at),)

    @nn.compact
    def embed(self, pixels: Mapping[str, jax.Array], mask: jax.Array | None, *, train: bool) -> jax.Array:
        """The embedded sequence [B, P, D], in CLIP also normalised, what layer 0 takes in; arguments and errors as in `__call__`."""
        config = self.config
        self._check(pixels, mask)
        x = self.embeddings(pixels)
        if config.style.pre_norm:
            x = layer_norm(x, config.style.eps, self.dtype, "pre_norm")
        return self._finished(-1, Dropout(config.dropout, deterministic=not train)(x), mask)

    def keys_values(self, n: int, x: jax.Array) -> KeysValues:
        """The keys and values, [B, P, H, d] each, that layer n makes of its input x [B, P, D]."""
        return self.layer[n].keys_values(x)

    def keys(self, n: int, x: jax.Array) -> jax.Array:
        """The keys alone of `keys_values`, [B, P, H, d]."""
        return self.layer[n].keys(x)

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
        at: jax.Array | None = None,
    ) -> jax.Array:
        """Layer n of x [B, P, D], see `ViTLayer`: [B, P, D], or [B, n, D] at the places `at`; 0 at masked places, of the last layer
        normalised where `final_norm` is set."""
        where = {"mask": mask, "prefix": prefix, "prefix_mask": prefix_mask, "made": made, "at": at}
        x = run_layer(self.layer[n], x, train=train, fixed={"prefix_bias": prefix_bias}, **where)
        return self._finished(n, x, mask if mask is None or at is None else jnp.take_along_axis(mask, at, axis=1))

    def _finished(self, n: int, state: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Layer n's state (-1: the embedded sequence), normalised if it is the last and cleared at masked places."""
        if self.config.final_norm and n == self.config.layers - 1:
            state = self.final_norm(state.astype(jnp.float32)).astype(self.dtype)
        if mask is not None:
            state = jnp.where(mask[..., None], state, jnp.zeros((), state.dtype))
        if not self.is_initializing():
            self.sow("intermediates", "hidden", state)
        return state

    def _check(self, pixels: Mapping[str, jax.Array], mask: jax.Array | None) -> None:
        _check_names(self.config, pixels, "pixels")
        for sequence in self.config.sequences:
            expected, found = (sequence.count, sequence.side, sequence.side, 3), pixels[sequence.name].shape
            if found[1:] != expected:
                raise ValueError(f"pixels[{sequence.name!r}] is [B, {', '.join(map(str, expected))}], found {list(found)}")
        if mask is not None and mask.shape[1:] != (self.config.length,):
            raise ValueError(f"the patch mask is [B, {self.config.length}], found {list(mask.shape)}")


def _check_names(config: ViTConfig, given: Mapping[str, jax.Array], what: str) -> None:
    expected, found = sorted(s.name for s in config.sequences), sorted(given)
    if expected != found:
        raise ValueError(f"{what} must hold the sequences {expected}, found {found}")
