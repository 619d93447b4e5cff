"""Hierarchical visual prefixes (HVPNeT, NAACL Findings 2022; RSRNeT, PeerJ CS 2024, eq. 4-11): keys and values for every text layer,
made of the stages of a convolutional image encoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.attention import KeysValues

GATES = {"selu": nn.selu, "leaky_relu": nn.leaky_relu}
CELLS = 4  # positions of a picture: 2 x 2


@dataclasses.dataclass(frozen=True)
class PrefixConfig:
    """Sizes and ablations.

    layers, width, heads: of the text encoder.
    stages: 'gates' mixes all stages for each layer; '1t3' gives each stage to its share of the layers (stage i to layers 3i-2..3i of 12);
      'plain' gives the last stage to all.
    gate: activation before the softmax over stages, a key of GATES.
    """

    layers: int
    width: int
    heads: int
    stages: Literal["gates", "1t3", "plain"] = "gates"
    gate: str = "selu"


class VisualPrefix(nn.Module):
    """Stage outputs of all pictures -> a pair of keys and values for each text layer.

    Where "intermediates" is mutable and there are gates, the weights that they give the stages are sown there as "gates", fp32
    [B, K, layers, S].
    """

    config: PrefixConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], pictures: int) -> tuple[KeysValues, ...]:
        """Pools, projects, mixes.

        Args:
          maps: for each stage [B * K, h, w, C], the pictures of a record one after the other, the photo first.
          pictures: K.

        Returns:
          for each text layer keys and values [B, 4 K, H, d] each.

        Raises:
          ValueError: for a stage whose map is smaller than 2 x 2.
        """
        cells = [pool(x) for x in maps]
        mixed, gates = self._mixed(cells)
        if gates and not self.is_initializing():
            self.sow("intermediates", "gates", by_picture(gates, pictures))
        return tuple(self._split(layer, pictures) for layer in mixed)

    def _mixed(self, cells: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
        """Eq. 4-8 and 11: for each stage [M, 2, 2, C] -> for each layer keys and values side by side, [M, 4, 2 D], and its gate [M, S],
        where there are gates."""
        config = self.config
        gates: list[jax.Array] = []
        used = {n: x for n, x in enumerate(cells) if config.stages != "plain" or n == len(cells) - 1}
        projected = [self._dense(config.width, f"project_{n}")(x).reshape(len(x), CELLS, config.width) for n, x in used.items()]
        features = jnp.stack(projected, axis=1)  # [M, S, 4, D]
        if config.stages == "gates":
            mean = features.mean(axis=(1, 2))
            gates = [self._gate(n, mean, len(projected), config.gate) for n in range(config.layers)]
            layers = [mix(gate, features) for gate in gates]
        else:
            layers = [features[:, n * len(projected) // config.layers] for n in range(config.layers)]
        return [self._dense(2 * config.width, f"keys_values_{n}")(x) for n, x in enumerate(layers)], gates

    def _gate(self, layer: int, mean: jax.Array, stages: int, activation: str) -> jax.Array:
        """Eq. 6-7: mean [M, D] -> weights of the stages, float32 [M, S]."""
        return nn.softmax(GATES[activation](self._dense(stages, f"gate_{layer}")(mean).astype(jnp.float32)))

    def _split(self, both: jax.Array, pictures: int) -> KeysValues:
        """[B * K, 4, 2 D] -> keys and values [B, 4 K, H, d] each."""
        config = self.config
        keys, values = jnp.split(both, 2, axis=-1)
        shape = (-1, pictures * CELLS, config.heads, config.width // config.heads)
        return keys.reshape(shape), values.reshape(shape)

    def _dense(self, width: int, name: str) -> nn.Dense:
        return nn.Dense(width, dtype=self.dtype, name=name)


def pool(x: jax.Array) -> jax.Array:
    """Averages [M, h, w, C] to [M, 2, 2, C]; a row and column beyond twice the window are left out, as in the released code.

    Raises:
      ValueError: if a side is shorter than 2.
    """
    side = x.shape[1]
    if side < 2 or x.shape[2] != side:
        raise ValueError(f"a stage's map is square and at least 2 x 2, found {list(x.shape)}: larger pictures or fewer stages")
    window = side // 2
    windows = x[:, : 2 * window, : 2 * window].reshape(len(x), 2, window, 2, window, x.shape[-1])
    return windows.mean((2, 4))


def by_picture(gates: Sequence[jax.Array], pictures: int) -> jax.Array:
    """Of each layer its gate [B * K, S], K pictures a record one after the other -> [B, K, layers, S]."""
    weights = jnp.stack(gates, axis=1)
    return weights.reshape(-1, pictures, *weights.shape[1:])


def mix(weights: jax.Array, features: jax.Array) -> jax.Array:
    """Eq. 8: weights float32 [M, S], features [M, S, 4, D] -> their weighted sum [M, 4, D]."""
    return jnp.einsum("ms,mscd->mcd", weights.astype(features.dtype), features)
