"""VGG (Simonyan & Zisserman 2015), configuration D (VGG16) by default: its last feature map and, if asked for, its second dense layer."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

CELLS = 7  # the dense layers see the feature map averaged to 7 x 7 cells
DROPOUT = 0.5  # after each dense layer, as published


@dataclasses.dataclass(frozen=True)
class VggConfig:
    """Sizes of a VGG; the defaults are VGG16's.

    Attributes:
      stages: channels of the 3x3 convolutions of each stage; a stage ends in a max pooling that halves the sides.
      hidden: width of the dense layers; 0: they are not built.
    """

    stages: tuple[tuple[int, ...], ...] = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
    hidden: int = 0

    def __post_init__(self) -> None:
        if not self.stages or not all(self.stages):
            raise ValueError(f"a VGG has at least one stage and each stage a convolution, found {self.stages}")

    @property
    def channels(self) -> int:
        """C of the feature map."""
        return self.stages[-1][-1]

    @property
    def stride(self) -> int:
        """Pixels a side of the feature map's cells."""
        return 2 ** len(self.stages)


class Vgg(nn.Module):
    """The encoder. Submodules: `stage_i_j`, the convolutions, and with `hidden` the dense layers `fc6` and `fc7`."""

    config: VggConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array | None]:
        """Encodes pictures.

        Args:
          pixels: float [N, S, S, 3], already normalised.
          train: whether dropout is on behind the dense layers; it draws from the "dropout" stream.

        Returns:
          the feature map [N, S / 32, S / 32, C] (rounded down), and what the second dense layer says [N, hidden], None without it.

        Raises:
          ValueError: for pixels of another shape, or too few of them for a cell.
        """
        if pixels.ndim != 4 or pixels.shape[-1] != 3 or min(pixels.shape[1:3]) < self.config.stride:
            raise ValueError(f"pixels are [N, S, S, 3], S at least {self.config.stride}, found {list(pixels.shape)}")
        x = pixels.astype(self.dtype)
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        for i, widths in enumerate(self.config.stages):
            for j, width in enumerate(widths):
                convolve = nn.Conv(width, (3, 3), padding=1, dtype=self.dtype, kernel_init=init, name=f"stage_{i}_{j}")
                x = nn.relu(convolve(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return x, self._dense(x, train) if self.config.hidden else None

    def _dense(self, x: jax.Array, train: bool) -> jax.Array:
        hidden, drop = self.config.hidden, nn.Dropout(DROPOUT, deterministic=not train)
        cells = adaptive_mean(x.astype(jnp.float32), CELLS).astype(self.dtype)
        y = drop(nn.relu(nn.DenseGeneral(hidden, axis=(-3, -2, -1), dtype=self.dtype, name="fc6")(cells)))  # kernel [7, 7, C, hidden]
        return drop(nn.relu(nn.Dense(hidden, dtype=self.dtype, name="fc7")(y)))


def adaptive_mean(x: jax.Array, cells: int) -> jax.Array:
    """Means over a grid of cells that cover a map, overlapping where the side does not divide: [N, H, W, C] -> [N, cells, cells, C]."""
    rows, columns = (_shares(side, cells) for side in x.shape[1:3])
    return jnp.einsum("ih,jw,nhwc->nijc", rows, columns, x)


def _shares(side: int, cells: int) -> np.ndarray:
    """What each of `side` values contributes to each cell's mean, [cells, side]; cell i covers [i side / cells, (i + 1) side / cells)."""
    starts = np.arange(cells) * side // cells
    ends = -(-(np.arange(cells) + 1) * side // cells)
    inside = (np.arange(side) >= starts[:, None]) & (np.arange(side) < ends[:, None])
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)
