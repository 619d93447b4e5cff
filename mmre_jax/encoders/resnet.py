"""ResNet (He et al., 2016, with the stride on the 3x3 convolution as in torchvision) and ResNeSt: the feature maps of every stage."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.encoders.convolution import EPS, ConvNorm, Norm, max_pool
from mmre_jax.encoders.resnest import SplitBottleneck

EXPANSION = 4  # of a bottleneck's width in its result

_KEYS = ("num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act", "downsample_in_first_stage")


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a ResNet; the defaults are ResNet-50's. ResNet-101 has depths (3, 4, 23, 3); ResNeSt-50 has split and stem_kernel 3.

    Attributes:
      depths: blocks of each stage that is built; may be fewer stages than a checkpoint's. Each stage after the first halves the sides.
      stem: channels of the stem; the blocks of stage i are stem * 2^i wide.
      stem_kernel: side of the stem's kernel.
      stem_stride: of the stem's (first) convolution.
      stem_pool: whether the stem ends in a max pooling of stride 2.
      bottleneck: blocks of 1x1, 3x3 and 1x1 convolutions whose result has four times their width, instead of two 3x3.
      stride_first: whether a bottleneck's stride is on its first convolution (the original), not on its 3x3.
      split: ResNeSt: the 3x3 is a split attention, strides are average poolings, and the stem is three 3x3 convolutions.
      norm: of all feature maps: 'frozen', 'batch', 'global' or 'group', see `convolution.Norm`.
      groups: of 'group'.
      eps: of the norm.
      still: whether the statistics of 'batch' and 'global' stay as they are in training, too: those of an encoder that is not trained.
    """

    depths: tuple[int, ...] = (3, 4, 6, 3)
    stem: int = 64
    stem_kernel: int = 7
    stem_stride: int = 2
    stem_pool: bool = True
    bottleneck: bool = True
    stride_first: bool = False
    split: bool = False
    norm: Literal["frozen", "batch", "global", "group"] = "frozen"
    groups: int = 32
    eps: float = EPS
    still: bool = False

    def __post_init__(self) -> None:
        if not self.depths or min(self.depths) < 1:
            raise ValueError(f"a ResNet has at least one stage and each stage a block, found depths {self.depths}")
        if self.stem_kernel % 2 == 0 or self.stem_stride not in (1, 2):
            raise ValueError(f"the stem's kernel is odd and its stride 1 or 2, found {self.stem_kernel} and {self.stem_stride}")
        if self.split and (not self.bottleneck or self.stride_first or self.stem_kernel != 3 or self.stem % 4):
            raise ValueError("a ResNeSt has bottlenecks without strided convolutions, 3x3 kernels in its stem, and a stem of 4 n channels")
        narrowest = self.stem // 2 if self.split else self.stem
        if self.feature_norm.kind == "group" and narrowest % self.groups:
            raise ValueError(f"{narrowest} channels do not divide into {self.groups} groups")

    @property
    def feature_norm(self) -> Norm:
        """The normalisation of all feature maps."""
        return Norm(self.norm, self.groups, self.eps, self.still)

    @property
    def follows(self) -> bool:
        """Whether running statistics follow the training batches."""
        return self.norm in ("batch", "global") and not self.still

    @property
    def stride(self) -> int:
        """Pixels from one cell of the last stage's feature map to the next."""
        return self.stem_stride * (2 if self.stem_pool else 1) * 2 ** (len(self.depths) - 1)

    @property
    def channels(self) -> tuple[int, ...]:
        """C of each stage's feature map."""
        return tuple(self.stem * 2**stage * (EXPANSION if self.bottleneck else 1) for stage in range(len(self.depths)))

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any]) -> ResNetConfig:
        """The configuration that a transformers config.json of model type 'resnet', read as a dict, describes, with a frozen norm.

        Raises:
          ValueError: another model type, a missing key, or a variant that is not built here; it is named.
        """
        if config.get("model_type") != "resnet":
            raise ValueError(f"this is the configuration of a {config.get('model_type')!r} model, expected 'resnet'")
        if missing := [name for name in _KEYS if name not in config]:
            raise ValueError(f"the ResNet configuration lacks {', '.join(missing)}")
        found = cls(
            depths=tuple(config["depths"]),
            stem=config["embedding_size"],
            bottleneck=config["layer_type"] == "bottleneck",
            stride_first=config.get("downsample_in_bottleneck", False),
        )
        needed = {
            "num_channels": 3,
            "hidden_sizes": list(found.channels),
            "layer_type": "bottleneck" if found.bottleneck else "basic",
            "hidden_act": "relu",
            "downsample_in_first_stage": False,
        }
        given = {**config, "hidden_sizes": list(config["hidden_sizes"])}
        if other := [f"{name} {given[name]!r} (built is {value!r})" for name, value in needed.items() if given[name] != value]:
            raise ValueError(f"this ResNet has {', '.join(other)}")
        return found

    def to_transformers(self) -> dict[str, Any]:
        """The inverse of `from_transformers`, but for the norm's eps, which has no place there: PyTorch's is EPS.

        Raises:
          ValueError: for a ResNet that transformers does not have; what it is is named.
        """
        if self.split:
            raise ValueError("transformers has no ResNeSt")
        fixed = {"stem_kernel": 7, "stem_stride": 2, "stem_pool": True}
        if other := [f"{name} {getattr(self, name)}, there {value}" for name, value in fixed.items() if getattr(self, name) != value]:
            raise ValueError(f"transformers' ResNet has another stem: here {', '.join(other)}")
        if self.feature_norm.kind == "group":
            raise ValueError("transformers' ResNet has batch normalisation, here norm is 'group'")
        return {
            "model_type": "resnet",
            "num_channels": 3,
            "embedding_size": self.stem,
            "hidden_sizes": list(self.channels),
            "depths": list(self.depths),
            "layer_type": "bottleneck" if self.bottleneck else "basic",
            "hidden_act": "relu",
            "downsample_in_first_stage": False,
            "downsample_in_bottleneck": self.stride_first,
        }


class Basic(nn.Module):
    """Two 3x3 convolutions, `first` and `second`, around a `shortcut`."""

    width: int
    stride: int
    norm: Norm
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """x [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), width]."""
        unit = functools.partial(ConvNorm, norm=self.norm, dtype=self.dtype)
        y = nn.relu(unit(self.width, 3, stride=self.stride, name="first")(x, train=train))
        y = unit(self.width, 3, zero=True, name="second")(y, train=train)
        if x.shape[-1] != self.width:
            x = unit(self.width, 1, stride=self.stride, name="shortcut")(x, train=train)
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """1x1 `reduce`, 3x3 `spatial`, 1x1 `expand`, around a `shortcut`."""

    width: int
    stride: int
    norm: Norm
    dtype: DTypeLike = jnp.float32
    stride_first: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """x [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), 4 width]."""
        unit = functools.partial(ConvNorm, norm=self.norm, dtype=self.dtype)
        out = EXPANSION * self.width
        first, second = (self.stride, 1) if self.stride_first else (1, self.stride)
        y = nn.relu(unit(self.width, 1, stride=first, name="reduce")(x, train=train))
        y = nn.relu(unit(self.width, 3, stride=second, name="spatial")(y, train=train))
        y = unit(out, 1, zero=True, name="expand")(y, train=train)
        if x.shape[-1] != out:
            x = unit(out, 1, stride=self.stride, name="shortcut")(x, train=train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """The encoder. Submodules: `stem_0` (with `split` also `stem_1`, `stem_2`), and `stage_i` with `block_j` for each stage."""

    config: ResNetConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """Encodes pictures.

        Args:
          pixels: float [N, S, S, 3], already normalised.
          train: whether a norm of kind 'batch' or 'global' uses and updates the statistics of this batch.

        Returns:
          for each stage its feature map [N, h_i, w_i, C_i] in `dtype`, see `ResNetConfig.channels`.

        Raises:
          ValueError: for pixels of another shape.
        """
        if pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise ValueError(f"pixels are [N, S, S, 3], found {list(pixels.shape)}")
        config = self.config
        x = self._stem(pixels.astype(self.dtype), train)
        maps = []
        for stage, depth in enumerate(config.depths):
            x = Stage(config, stage, depth, self.dtype, name=f"stage_{stage}")(x, train=train)
            maps.append(x)
        return tuple(maps)

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        config = self.config
        unit = functools.partial(ConvNorm, norm=config.feature_norm, dtype=self.dtype)
        widths = (config.stem // 2, config.stem // 2, config.stem) if config.split else (config.stem,)
        for n, width in enumerate(widths):
            stride = config.stem_stride if n == 0 else 1
            x = nn.relu(unit(width, config.stem_kernel, stride=stride, name=f"stem_{n}")(x, train=train))
        return max_pool(x) if config.stem_pool else x


class Stage(nn.Module):
    """The blocks of one stage; the first one halves the sides, except in stage 0."""

    config: ResNetConfig
    stage: int
    depth: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """x [N, H, W, C] -> [N, h, w, config.channels[stage]]."""
        config = self.config
        block = functools.partial(Bottleneck, stride_first=config.stride_first) if config.bottleneck else Basic
        if config.split:
            block = SplitBottleneck
        width = config.stem * 2**self.stage
        for n in range(self.depth):
            stride = 2 if n == 0 and self.stage > 0 else 1
            x = block(width, stride, config.feature_norm, self.dtype, name=f"block_{n}")(x, train=train)
        return x
