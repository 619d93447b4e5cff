"""NumPy's numbers in a pickle, read as Python's own without calling what the pickle names: boxes are often computed with NumPy.

A pickled scalar or array names the functions that NumPy makes it with. The ones here stand in for them, know numbers alone, and check
sizes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

_NUMBERS = re.compile("[fiub][1248]")


class DType:
    """What a pickle says of an array's type: a letter and a number of bytes, and, in its state, the order of the bytes."""

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def numbers(self, data: bytes) -> np.ndarray:
        """The numbers that some bytes hold. Raises ValueError for a type that is none of numbers."""
        if not _NUMBERS.fullmatch(str(self.code)) or self.order not in ("<", ">", "|", "="):
            raise ValueError(f"NumPy values of type {self.code!s:.20}, which are no numbers")
        return np.frombuffer(data, np.dtype(self.order + self.code))


class Array:
    """An array as the list of its numbers, once its state is known."""

    def __init__(self, *_: object) -> None:
        self.value: list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _nested(dtype.numbers(data), shape, "F" if fortran else "C")


def replacement(module: str, name: str) -> Callable[..., Any] | None:
    """What stands in for a name that NumPy's numbers are pickled under; None for all others."""
    if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        return {"scalar": _scalar, "_reconstruct": Array}.get(name)
    if module in ("numpy.core.numeric", "numpy._core.numeric"):
        return {"_frombuffer": _from_buffer}.get(name)
    return {("numpy", "dtype"): DType, ("numpy", "ndarray"): Array, ("_codecs", "encode"): _encoded}.get((module, name))


def items(value: Any, known: dict[int, int]) -> int:
    """How many items a value has; one that stands in it several times counts as often, for a few bytes can name many.

    Args:
      known: of parts that were counted, by id.
    """
    parts = value.value if isinstance(value, Array) else value.values() if isinstance(value, dict) else value
    if not isinstance(value, (Array, dict, list, tuple)):
        return 1
    if id(value) not in known:
        known[id(value)] = 1 + sum(items(part, known) for part in parts)
    return known[id(value)]


def as_lists(value: Any) -> Any:
    """A value of dictionaries, lists and tuples with its arrays as lists."""
    if isinstance(value, Array):
        return value.value
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return type(value)(map(as_lists, value)) if type(value) in (list, tuple) else value


def _scalar(dtype: DType, data: bytes) -> float | int | bool:
    (found,) = dtype.numbers(data)
    return found.item()


def _from_buffer(data: bytes, dtype: DType, shape: tuple[int, ...], order: str, *_: object) -> list[Any]:
    return _nested(dtype.numbers(bytes(data)), shape, order)


def _nested(numbers: np.ndarray, shape: tuple[int, ...], order: str) -> list[Any]:
    # A shape such as (10**9, 0) needs no bytes, and would fill the memory with empty lists.
    return numbers.reshape(shape, order=order).tolist() if numbers.size and numbers.size == np.prod(shape, dtype=object) else []


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, which the older protocols write as text."""
    if encoding != "latin1":
        raise ValueError(f"bytes written as {encoding!s:.20}")
    return text.encode("latin1")
