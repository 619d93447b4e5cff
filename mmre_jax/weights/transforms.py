"""How the tensors of a foreign checkpoint become parameters, and back: by the names that rules (rules.py) use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Transform:
    """How a foreign tensor becomes a parameter and back.

    Attributes:
      forward: (tensor, the parameter's present value or shape) -> the parameter.
      inverse: parameter -> tensor.
    """

    forward: Callable[[np.ndarray, Any], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


def _same(tensor: np.ndarray, target: Any = None) -> np.ndarray:
    return tensor


def _rows(tensor: np.ndarray, target: Any) -> np.ndarray:
    """The tensor's rows, then the target's own initial values where it has more rows."""
    if tensor.ndim != len(target.shape) or tensor.shape[0] >= target.shape[0]:
        return tensor
    if isinstance(target, jax.ShapeDtypeStruct):
        raise ValueError("the rows that the checkpoint lacks have no initial value here")
    return np.concatenate([tensor, np.asarray(target)[tensor.shape[0] :].astype(tensor.dtype)])


def _truncate(tensor: np.ndarray, target: Any) -> np.ndarray:
    """The first rows, as many as the target has."""
    return tensor[: target.shape[0]]


def _without_unit_axes(count: int) -> Callable[[np.ndarray, Any], np.ndarray]:
    def forward(tensor: np.ndarray, target: Any) -> np.ndarray:
        if tensor.shape[:count] != (1,) * count:
            raise ValueError(f"its first {count} axes must have length 1")
        return tensor.reshape(tensor.shape[count:])

    return forward


def _needs_rank(rank: int, permutation: tuple[int, ...]) -> Callable[[np.ndarray, Any], np.ndarray]:
    def forward(tensor: np.ndarray, target: Any = None) -> np.ndarray:
        if tensor.ndim != rank:
            raise ValueError(f"it must have {rank} axes")
        return tensor.transpose(permutation)

    return forward


def _flat_map(tensor: np.ndarray, target: Any) -> np.ndarray:
    """A dense layer on a flattened map, [out, C h w], with the axes of the map, [h, w, C, out]."""
    height, width, channels, out = target.shape
    return tensor.reshape(out, channels, height, width).transpose(2, 3, 1, 0)


def _flattened(parameter: np.ndarray) -> np.ndarray:
    return parameter.transpose(3, 2, 0, 1).reshape(parameter.shape[-1], -1)


TRANSFORMS: dict[str, Transform] = {
    "same": Transform(_same, _same),
    "linear": Transform(_needs_rank(2, (1, 0)), _needs_rank(2, (1, 0))),  # [out, in] <-> [in, out]
    "conv": Transform(_needs_rank(4, (2, 3, 1, 0)), _needs_rank(4, (3, 2, 0, 1))),  # OIHW <-> HWIO
    "flat": Transform(_flat_map, _flattened),  # [out, C h w] <-> [h, w, C, out]
    "squeeze": Transform(_without_unit_axes(1), lambda parameter: parameter[None]),  # [1, ...] <-> [...]
    "squeeze2": Transform(_without_unit_axes(2), lambda parameter: parameter[None, None]),  # [1, 1, ...] <-> [...]
    "rows": Transform(_rows, _same),  # a table that may have more rows here than in the checkpoint
    "truncate": Transform(_truncate, _same),  # a table that may have fewer rows here; written as short as it is
}
