"""What the transformer encoders share: activations by name, layer normalisation and the feed-forward block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.attention import kernel_init, on_rows

TABLE_STD = 0.02  # of position, word and class embeddings where kernels start by fan-in


def quick_gelu(x: jax.Array) -> jax.Array:
    """x * sigmoid(1.702 x), CLIP's approximation of GELU; any shape."""
    return x * jax.nn.sigmoid(1.702 * x)


# Under the names that transformers' config.json uses.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "quick_gelu": quick_gelu,
    "relu": jax.nn.relu,
}


def check_activation(name: str) -> None:
    """Raises ValueError, listing the known names, where `name` is not a known activation."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(sorted(ACTIVATIONS))}")


def renamed(config: Mapping[str, Any], names: Mapping[str, str], kind: str) -> dict[str, Any]:
    """{our name: value} of a transformers config.json, for names {our name: its name}; ValueError, naming them, for keys that it lacks."""
    if missing := sorted(set(names.values()) - set(config)):
        raise ValueError(f"the {kind} configuration lacks {', '.join(missing)}")
    return {ours: config[theirs] for ours, theirs in names.items()}


def rows_at(x: jax.Array, at: jax.Array | None) -> jax.Array:
    """Of x [B, L, D] the rows at places `at`, int [B, K]: [B, K, D]; all of them, x itself, for None."""
    return x if at is None else jnp.take_along_axis(x, at[:, :, None], axis=1)


def as_it_is(module: nn.Module, train: bool) -> bool:
    """Whether a bound module is to be called as it is, and its call not taken for one of a pure function of its variables: in training,
    where it draws dropout, and where its variables are made or what it computes is looked at ("intermediates" is mutable)."""
    return train or any(module.is_mutable_collection(name) for name in ("params", "intermediates"))


def run_layer(layer: nn.Module, x: jax.Array, *, train: bool, fixed: Mapping[str, Any] | None = None, **operands: Any) -> Any:
    """layer(x, train=train, **fixed, **operands); in prediction it is traced once for all layers of equal fields, shapes and `fixed`.

    Each is traced by itself where it is to be called `as_it_is`: in training each draws its own dropout.

    Args:
      layer: bound, as submodules are.
      fixed: what is no array, hashable.
      operands: arrays, trees of them, or None.
    """
    known = dict(fixed or {})
    if as_it_is(layer, train):
        return layer(x, train=train, **known, **operands)
    return _predicted(layer.copy(parent=None), layer.variables, x, operands, tuple(known.items()))


@functools.partial(jax.jit, static_argnums=(0, 4))
def _predicted(layer: nn.Module, variables: Any, x: jax.Array, operands: Mapping[str, Any], fixed: tuple[tuple[str, Any], ...]) -> Any:
    return layer.apply(variables, x, train=False, **dict(fixed), **operands)


def layer_norm(x: jax.Array, eps: float, dtype: DTypeLike, name: str) -> jax.Array:
    """Layer normalisation over the last axis of x [..., D], computed in fp32 and returned in `dtype`.

    To be called inside a compact method: it makes the submodule `name` there, with `scale` and `bias` [D].
    """
    return float32_norm(eps, name)(x.astype(jnp.float32)).astype(dtype)


def float32_norm(eps: float, name: str | None = None) -> nn.LayerNorm:
    """The submodule that `layer_norm` makes, for a `setup` method; its input [..., D] and its output are fp32."""
    # The fast variance E[x^2] - E[x]^2 loses digits where the mean is large, as it is in CLIP's outlier channels.
    return nn.LayerNorm(epsilon=eps, dtype=jnp.float32, use_fast_variance=False, name=name)


class FeedForward(nn.Module):
    """Dense(hidden) - activation - Dense(D) on x [..., D], as submodules `up` and `down`; `added` [..., hidden] joins before the
    activation.

    Attributes:
      hidden: width between the two layers.
      activation: a key of ACTIVATIONS.
      dtype: of the computation; parameters stay fp32.
      init_std: standard deviation of the initial kernels, 0 for one by fan-in.
    """

    hidden: int
    activation: str
    dtype: DTypeLike = jnp.float32
    init_std: float = 0.02

    @nn.compact
    def __call__(self, x: jax.Array, added: jax.Array | None = None) -> jax.Array:
        init = kernel_init(self.init_std)
        hidden = on_rows(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=init, name="up"), x)
        hidden = ACTIVATIONS[self.activation](hidden if added is None else hidden + added)
        return on_rows(nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=init, name="down"), hidden)
