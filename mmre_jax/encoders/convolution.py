"""What the convolutional encoders share: normalisation of feature maps, convolution followed by it, and pooling as PyTorch pads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.losses import device_axes

NORMS = ("frozen", "batch", "global", "group")
EPS = 1e-5
MOMENTUM = 0.9  # of the running statistics; PyTorch writes the same as 0.1


@dataclasses.dataclass(frozen=True)
class Norm:
    """How feature maps are normalised.

    Attributes:
      kind: 'frozen': batch normalisation of which statistics, scale and bias are constants in the collection "batch_stats", as detectors
        use it; 'batch': scale and bias are parameters, the running statistics in "batch_stats" follow the training batches of this
        device; 'global': the same with the batches of all devices together; 'group': group normalisation, the same in training and out
        of it.
      groups: of 'group'.
      eps: added to variances.
      still: whether 'batch' and 'global' use their running statistics in training, too, and leave them as they are.
    """

    kind: Literal["frozen", "batch", "global", "group"] = "frozen"
    groups: int = 32
    eps: float = EPS
    still: bool = False

    def __post_init__(self) -> None:
        if self.kind not in NORMS:
            raise ValueError(f"unknown norm {self.kind!r}; known are {', '.join(NORMS)}")


class FrozenBatchNorm(nn.Module):
    """(x - mean) / sqrt(var + eps) * scale + bias over the last axis of x float32 [N, H, W, C], with all four [C] in "batch_stats"."""

    eps: float = EPS

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float32 [N, H, W, C] -> the same."""
        starts = {"mean": 0.0, "var": 1.0, "scale": 1.0, "bias": 0.0}
        shape = x.shape[-1:]
        held = {name: self.variable("batch_stats", name, jnp.full, shape, start, jnp.float32).value for name, start in starts.items()}
        factor = held["scale"] * jax.lax.rsqrt(held["var"] + self.eps)
        return x * factor[None, None, None] + (held["bias"] - held["mean"] * factor)[None, None, None]


def feature_norm(x: jax.Array, norm: Norm, dtype: DTypeLike, name: str, *, train: bool, zero: bool = False) -> jax.Array:
    """Normalises x [N, H, W, C] in fp32 and returns it in `dtype`.

    To be called inside a compact method: it makes the submodule `name` there.

    Args:
      train: whether 'batch' and 'global' normalise by this batch and update the running statistics, unless the norm is `still`. Unlike
        PyTorch's, the running variance follows the variance over N H W values as it is, not its unbiased estimate.
      zero: whether the scale starts at 0, where it is a parameter.
    """
    start = nn.initializers.zeros if zero else nn.initializers.ones
    wide = x.astype(jnp.float32)
    if norm.kind == "frozen":
        return FrozenBatchNorm(norm.eps, name=name)(wide).astype(dtype)
    if norm.kind == "group":
        module = nn.GroupNorm(norm.groups, epsilon=norm.eps, dtype=jnp.float32, scale_init=start, use_fast_variance=False, name=name)
        return module(wide).astype(dtype)
    module = nn.BatchNorm(
        norm.still or not train,
        momentum=MOMENTUM,
        epsilon=norm.eps,
        dtype=jnp.float32,
        scale_init=start,
        use_fast_variance=False,
        axis_name=(device_axes() or None) if norm.kind == "global" else None,
        name=name,
    )
    return module(wide).astype(dtype)


def pointwise(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` for a 1x1 kernel without padding, groups or dilation, as one product of matrices: on a CPU XLA
    computes that up to three times as fast.

    Args:
      lhs: [N, H, W, C].
      rhs: [1, 1, C, width].

    Returns:
      [N, ceil(H / stride), ceil(W / stride), width].

    Raises:
      ValueError: for another kernel, or groups.
    """
    del padding, lhs_dilation, rhs_dilation, dimension_numbers  # as nn.Conv gives them: no padding, dilations of 1
    if rhs.shape[:2] != (1, 1) or feature_group_count != 1:
        raise ValueError(f"a 1x1 kernel and one group, found {list(rhs.shape[:2])} and {feature_group_count}")
    rows, columns = window_strides
    return jnp.matmul(lhs[:, ::rows, ::columns], rhs[0, 0], precision=precision)


def apart(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` of channels in a few groups, as a convolution a group: on a CPU XLA computes that two to three times
    as fast, and the same numbers.

    Args:
      lhs: [N, H, W, C].
      rhs: [rows, columns, C / groups, width].
    """
    found = [
        jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides,
            padding,
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            dimension_numbers=dimension_numbers,
            precision=precision,
        )
        for x, kernel in zip(*(jnp.split(each, feature_group_count, axis=-1) for each in (lhs, rhs)), strict=True)
    ]
    return jnp.concatenate(found, axis=-1)


class ConvNorm(nn.Module):
    """A convolution `conv` padded by kernel // 2 on each side, then `norm`: [N, H, W, C] -> [N, H', W', width].

    Attributes:
      width: channels of the result.
      kernel: side of the kernel, odd.
      norm: the normalisation.
      stride: of the convolution.
      groups: into which the convolution splits the channels.
      bias: whether the convolution has one.
      zero: whether the norm's scale starts at 0, so that a residual block starts as its shortcut.
      dtype: of the computation; parameters and statistics stay fp32.
    """

    width: int
    kernel: int
    norm: Norm
    stride: int = 1
    groups: int = 1
    bias: bool = False
    zero: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """x [N, H, W, C] -> [N, H', W', width]."""
        convolve = nn.Conv(
            self.width,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding=self.kernel // 2,
            feature_group_count=self.groups,
            use_bias=self.bias,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            conv_general_dilated=apart if self.groups > 1 else pointwise if self.kernel == 1 else None,
            name="conv",
        )
        return feature_norm(convolve(x), self.norm, self.dtype, "norm", train=train, zero=self.zero)


def max_pool(x: jax.Array) -> jax.Array:
    """The stem's pooling: 3x3, stride 2, padded by one on each side; [N, H, W, C] -> [N, ceil(H / 2), ceil(W / 2), C]."""
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


def smooth_pool(x: jax.Array) -> jax.Array:
    """ResNeSt's downsampling after split attention: the mean of 3x3, stride 2, padding counted as zeros; shapes as `max_pool`."""
    return nn.pool(x, 0.0, jax.lax.add, (3, 3), (2, 2), ((1, 1), (1, 1))) / 9.0


def halving_pool(x: jax.Array) -> jax.Array:
    """ResNeSt's downsampling in shortcuts: the mean of 2x2, stride 2, of what is there at an odd edge; shapes as `max_pool`."""
    padding = ((0, x.shape[1] % 2), (0, x.shape[2] % 2))
    there = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    total, count = (nn.pool(y, 0.0, jax.lax.add, (2, 2), (2, 2), padding) for y in (x, there))
    return total / count
