"""What a traced program computes and sends, read from its jaxpr: before any compiler, for any backend, loops as often as they run."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mmre_jax.planning.hlo import Collective

# Primitives by what they become; a mean over devices is a sum.
_KINDS = {
    "psum": "all-reduce",
    "psum_invariant": "all-reduce",
    "pmax": "all-reduce",
    "pmin": "all-reduce",
    "all_gather": "all-gather",
    "all_gather_invariant": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "all_to_all": "all-to-all",
    "ppermute": "collective-permute",
}


@dataclasses.dataclass(frozen=True)
class Program:
    """Of one device in a step. flops: of matrix products and convolutions, a multiplication and an addition each.

    while_loops: loops that end by a condition, counted as if they ran once; callbacks: of the host.
    """

    flops: int
    collectives: list[Collective]
    while_loops: int
    callbacks: int


def read(jaxpr: Any, mesh: Mapping[str, int], *, growing: str = "data") -> Program:
    """Counts a program that was traced for one device of a mesh, or holds such a one in a shard_map.

    Of a conditional the branch with the most FLOPs counts.

    Args:
      jaxpr: closed or open.
      mesh: {axis: its size}.
      growing: the axis that is longer where there are more chips.
    """
    counted: Counter[Any] = Counter()
    _count(getattr(jaxpr, "jaxpr", jaxpr), 1, mesh, counted)
    keys = sorted(key for key in counted if isinstance(key, tuple) and key[0] == "count")
    rows = [
        Collective(kind, counted["count", kind, axes], counted["bytes", kind, axes], math.prod(mesh[a] for a in axes), growing in axes)
        for _, kind, axes in keys
    ]
    return Program(counted["flops"], rows, counted["while"], counted["callback"])


def _count(jaxpr: Any, times: int, mesh: Mapping[str, int], counted: Counter[Any]) -> None:
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            counted["flops"] += times * _dot(eqn)
        elif name == "conv_general_dilated":
            counted["flops"] += times * _convolution(eqn)
        elif name in _KINDS:
            axes = eqn.params.get("axes", eqn.params.get("axis_name"))
            axes = tuple(axis for axis in (axes if isinstance(axes, tuple) else (axes,)) if mesh.get(axis, 1) > 1)
            if axes:
                counted["count", _KINDS[name], axes] += times
                counted["bytes", _KINDS[name], axes] += times * sum(_size(x.aval) for x in eqn.invars)
        elif name.endswith("callback"):
            counted["callback"] += times
        if name == "cond":
            branches = []
            for branch in eqn.params["branches"]:
                branches.append(Counter())
                _count(branch.jaxpr, times, mesh, branches[-1])
            counted.update(max(branches, key=lambda found: found["flops"]))
            continue
        counted["while"] += times * (name == "while")
        inner = times * (eqn.params["length"] if name == "scan" else 1)
        for inside in _inside(eqn.params):
            _count(inside, inner, mesh, counted)


def _inside(params: Mapping[str, Any]) -> Iterator[Any]:
    """The jaxprs that an equation holds."""
    for value in params.values():
        for found in value if isinstance(value, (tuple, list)) else (value,):
            found = getattr(found, "jaxpr", found)
            if hasattr(found, "eqns"):
                yield found


def _size(aval: Any) -> int:
    return math.prod(aval.shape) * aval.dtype.itemsize


def _dot(eqn: Any) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left.shape[axis] for axis in contracted)


def _convolution(eqn: Any) -> int:
    """What meets padding, or the zeros between the elements of a dilated input, is not multiplied."""
    numbers, params = eqn.params["dimension_numbers"], eqn.params
    image, kernel, out = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape, eqn.outvars[0].aval.shape
    pairs = 1
    for axis, (before, _) in enumerate(params["padding"]):
        spread = params["lhs_dilation"][axis]
        starts = np.arange(out[numbers.out_spec[2 + axis]])[:, None] * params["window_strides"][axis] - before
        places = starts + np.arange(kernel[numbers.rhs_spec[2 + axis]])[None] * params["rhs_dilation"][axis]
        last = (image[numbers.lhs_spec[2 + axis]] - 1) * spread
        pairs *= int(((places >= 0) & (places <= last) & (places % spread == 0)).sum())
    return 2 * out[numbers.out_spec[0]] * out[numbers.out_spec[1]] * kernel[numbers.rhs_spec[1]] * pairs
