"""Fields of a line of JSON, each checked: what is wrong is a RecordError that says where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mmre_jax.records import RecordError, as_number

T = TypeVar("T")
_TOLD = 5  # unknown keys that a message names


def keys(value: Any, valid: Sequence[str], where: str, hint: str = "") -> dict[str, Any]:
    """`value` without the keys that are null, if it is a dictionary with valid keys."""
    if not isinstance(value, dict):
        raise RecordError(f"{where}: expected a dictionary with {', '.join(valid)}, found {value!r:.80}")
    if unknown := sorted(set(value) - set(valid)):
        told = ", ".join(f"{key!r:.80}" for key in unknown[:_TOLD])
        raise RecordError(f"{where}: unknown key {told}; valid are {', '.join(valid)}{hint}")
    return {key: item for key, item in value.items() if item is not None}


def needed(value: dict[str, Any], names: Sequence[str], where: str) -> None:
    """Raises RecordError where a key is not there."""
    if lacking := [key for key in names if key not in value]:
        raise RecordError(f"{where}: no key {', '.join(map(repr, lacking))}")


def dictionary(value: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """A dictionary, empty where there is none."""
    found = value.get(key, {})
    if not isinstance(found, dict):
        raise RecordError(f"{where}, field {key!r}: expected a dictionary, found {found!r:.80}")
    return found


def items(value: dict[str, Any], key: str, where: str, item: Callable[[Any, str], T]) -> list[T]:
    """A list, empty where there is none, of what `item` makes of each entry and the words for where it stands."""
    found = value.get(key, [])
    if not isinstance(found, list):
        raise RecordError(f"{where}, field {key!r}: expected a list, found {found!r:.80}")
    return [item(entry, f"{where}, field {key}[{i}]") for i, entry in enumerate(found)]


def word(item: Any, where: str) -> str:
    """A string that is not empty; a tweet's word may be a no-break space."""
    if not isinstance(item, str) or not item:
        raise RecordError(f"{where}: expected a word that is not empty, found {item!r:.80}")
    return item


def string(value: dict[str, Any], key: str, where: str) -> str:
    """A string that is there and not empty."""
    if not isinstance(value[key], str) or not value[key]:
        raise RecordError(f"{where}, field {key!r}: expected a string that is not empty, found {value[key]!r:.80}")
    return value[key]


def optional(value: dict[str, Any], key: str, where: str) -> str | None:
    """A string that is not empty, None where there is none."""
    return string(value, key, where) if key in value else None


def score(value: dict[str, Any], where: str, key: str = "score") -> float | None:
    """A number, None where there is none."""
    found = as_number(value.get(key))
    if key in value and found is None:
        raise RecordError(f"{where}, field {key!r:.80}: expected a number, found {value[key]!r:.80}")
    return found
