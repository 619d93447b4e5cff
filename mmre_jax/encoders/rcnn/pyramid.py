"""A feature pyramid over a ResNet (Lin et al. 2017), whole for a detector, or one level of it as the image encoder of something else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.encoders.convolution import ConvNorm, Norm, pointwise
from mmre_jax.encoders.resnet import ResNet, ResNetConfig


@dataclasses.dataclass(frozen=True)
class PyramidConfig:
    """Sizes of a pyramid and of what it stands on.

    Attributes:
      backbone: every stage of it feeds a level; one more level, the coarsest, is every second cell of the last.
      width: channels of the levels.
      normed: whether the convolutions have a norm, as version 2 of torchvision's detectors have, instead of a bias.
      level: the only level that is asked for, from 0, the finest, to the number of stages, the coarsest: nothing is built that it does
        not depend on. None: all.
    """

    backbone: ResNetConfig
    width: int = 256
    normed: bool = False
    level: int | None = None

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= self.stages:
            raise ValueError(f"a pyramid over {self.stages} stages has the levels 0 to {self.stages}, found level {self.level}")

    @property
    def stages(self) -> int:
        """Of the backbone."""
        return len(self.backbone.depths)

    @property
    def read(self) -> tuple[int, ...]:
        """The stages of which a 3x3 convolution is built."""
        return tuple(range(self.stages)) if self.level is None else (min(self.level, self.stages - 1),)

    @property
    def norm(self) -> Norm | None:
        """Of the convolutions."""
        return self.backbone.feature_norm if self.normed else None


class Pyramid(nn.Module):
    """1x1 `inner_i` of every stage that is needed and 3x3 `layer_i` of every stage that is read, coarser levels added to finer ones."""

    config: PyramidConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], *, train: bool) -> tuple[jax.Array, ...]:
        """Each stage's [B, h, w, C_i] -> the levels, [B, h, w, width], the finest first; the only one that is asked for, if one is."""
        config, levels = self.config, []
        above = None
        for n in reversed(range(config.read[0], config.stages)):
            inner = convolve(maps[n], config.width, 1, config.norm, self.dtype, f"inner_{n}", train=train)
            if above is not None:
                inner = inner + above.repeat(2, axis=1).repeat(2, axis=2)
            above = inner
            if n in config.read:
                levels.append(convolve(inner, config.width, 3, config.norm, self.dtype, f"layer_{n}", train=train))
        coarsest = levels[0][:, ::2, ::2]
        if config.level is not None:
            return (coarsest if config.level == config.stages else levels[0],)
        return (*reversed(levels), coarsest)


class PyramidEncoder(nn.Module):
    """A detector's `backbone` and `pyramid` as an image encoder, without proposals and head."""

    config: PyramidConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """Encodes pictures.

        Args:
          pixels: float [N, S, S, 3], normalised as torchvision does; S is a multiple of the last stage's stride.
          train: see `ResNet`.

        Returns:
          the levels, see `Pyramid`.

        Raises:
          ValueError: for pixels of another shape.
        """
        stride = self.config.backbone.stride
        if pixels.ndim != 4 or any(side % stride for side in pixels.shape[1:3]):
            raise ValueError(f"pixels are [N, S, S, 3], S a multiple of {stride}, found {list(pixels.shape)}")
        maps = ResNet(self.config.backbone, self.dtype, name="backbone")(pixels, train=train)
        return Pyramid(self.config, self.dtype, name="pyramid")(maps, train=train)


def convolve(x: jax.Array, width: int, kernel: int, norm: Norm | None, dtype: DTypeLike, name: str, *, train: bool) -> jax.Array:
    """A convolution of stride 1 that keeps the sides, [N, H, W, .] -> [N, H, W, width], with a norm or else a bias.

    To be called inside a compact method: it makes the submodule `name` there.
    """
    if norm is not None:
        return ConvNorm(width, kernel, norm, dtype=dtype, name=name)(x, train=train)
    product = pointwise if kernel == 1 else None
    return nn.Conv(width, (kernel, kernel), padding=kernel // 2, dtype=dtype, conv_general_dilated=product, name=name)(x)
