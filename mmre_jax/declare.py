"""How a setting is declared: its default, what it means and which values it can have; and how values are checked against that.

A section of a configuration is declared by a dictionary {name: Setting}, or {name: such a dictionary} for a section within it:

    SETTINGS: Section = {"queries": whole(5, "[1, inf)", "the most triples a record can get"), "gate": flag(True, "the gates of eq. 4")}
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, Union

Section: TypeAlias = Mapping[str, Union["Setting", "Section"]]


class SettingError(ValueError):
    """Settings that no run can have: a line for each, which names the setting, its value and what it can be."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting.

    default: of a new configuration.
    meaning: one line.
    range: the values it can have, in words that go behind "is not".
    accepts: whether a value is one of them.
    former: what was computed before there was this setting, for the checkpoints of then, where that is not the default.
    """

    default: Any
    meaning: str
    range: str
    accepts: Callable[[Any], bool]
    former: Any = None


@dataclasses.dataclass(frozen=True)
class Interval:
    """Finite numbers between two bounds, written as in mathematics: "[0, 1)", "(0, inf)"."""

    low: float
    high: float
    closed: tuple[bool, bool]
    written: str

    @classmethod
    def read(cls, written: str) -> Interval:
        """The interval of that notation. Raises ValueError for text that is none, or that holds nothing."""
        low, _, high = written[1:-1].partition(",")
        found = cls(float(low), float(high), (written[0] == "[", written[-1] == "]"), written)
        if written[0] not in "[(" or written[-1] not in "])" or not found.low < found.high:
            raise ValueError(f"{written!r} is not an interval such as '[0, 1)'")
        return found

    def __contains__(self, value: float) -> bool:
        low, high = self.closed
        above = value >= self.low if low else value > self.low
        return math.isfinite(value) and above and (value <= self.high if high else value < self.high)

    def __str__(self) -> str:
        if self.high == math.inf and self.low != -math.inf:
            return f"{'of at least' if self.closed[0] else 'above'} {self.low:g}"
        return f"in {self.written}"


def number(default: float, interval: str, meaning: str, *, former: float | None = None) -> Setting:
    """A number, whole ones included; never NaN or infinite."""
    within = Interval.read(interval)
    return Setting(default, meaning, f"a number {within}", lambda value: _is_number(value) and value in within, former)


def whole(default: int, interval: str, meaning: str, *, former: int | None = None) -> Setting:
    """A whole number; a bool is none."""
    within = Interval.read(interval)
    return Setting(default, meaning, f"a whole number {within}", lambda value: _is_whole(value) and value in within, former)


def flag(default: bool, meaning: str, *, former: bool | None = None) -> Setting:
    """True or False."""
    return Setting(default, meaning, "True or False", lambda value: isinstance(value, bool), former)


def choice(default: str, options: Iterable[str], meaning: str, *, former: str | None = None) -> Setting:
    """One of some strings."""
    known = tuple(options)
    shown = ", ".join(option or "''" for option in known)
    return Setting(default, meaning, f"one of {shown}", lambda value: isinstance(value, str) and value in known, former)


def text(default: str, meaning: str, *, former: str | None = None) -> Setting:
    """Any string: a path, a name that only the data know."""
    return Setting(default, meaning, "a text", lambda value: isinstance(value, str), former)


def wholes(
    default: tuple[int, ...],
    interval: str,
    meaning: str,
    *,
    length: int = 0,
    order: str = "",
    empty: bool = False,
    former: tuple[int, ...] | None = None,
) -> Setting:
    """A tuple of whole numbers.

    Args:
      length: how many there are; 0: any number.
      order: 'ascending': each is larger than the one before it; 'different': none occurs twice.
      empty: whether there may be none.
    """
    within = Interval.read(interval)
    ordered = f", {order}" if order else ""
    many = f", {length} of them" if length else "" if empty else ", at least one"

    def accepts(value: Any) -> bool:
        if not isinstance(value, tuple) or not all(_is_whole(item) and item in within for item in value):
            return False
        many_enough = len(value) == length if length else empty or bool(value)
        return many_enough and {"": True, "ascending": list(value) == sorted(set(value)), "different": len(value) == len(set(value))}[order]

    return Setting(default, meaning, f"a tuple of whole numbers {within}{ordered}{many}", accepts, former)


def names(default: tuple[str, ...], meaning: str) -> Setting:
    """A tuple of different strings, or of none."""

    def accepts(value: Any) -> bool:
        return isinstance(value, tuple) and all(isinstance(item, str) and item for item in value) and len(set(value)) == len(value)

    return Setting(default, meaning, "a tuple of different names", accepts)


def factors(default: Mapping[str, float], interval: str, meaning: str) -> Setting:
    """A dictionary {name: number}, whose names are not known beforehand."""
    within = Interval.read(interval)

    def accepts(value: Any) -> bool:
        pairs = value.items() if hasattr(value, "items") else [("", None)]
        return all(isinstance(name, str) and _is_number(item) and item in within for name, item in pairs)

    return Setting(dict(default), meaning, f"a dictionary from names to numbers {within}", accepts)


def defaults(section: Section) -> dict[str, Any]:
    """{name: default} of a section."""
    return {name: defaults(found) if isinstance(found, Mapping) else found.default for name, found in section.items()}


def complete(values: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """The values, and for each setting that they lack what was computed before there was it."""
    filled = dict(values)
    for name, found in section.items():
        if isinstance(found, Mapping):
            filled[name] = complete(values.get(name, {}), found)
        elif name not in values:
            filled[name] = found.default if found.former is None else found.former
    return filled


def problems(name: str, values: Any, section: Section) -> list[str]:
    """What is wrong with a section's values, a line each.

    Args:
      name: of the section, as flags name it: 'optim', 'system.weights'.
    """
    if not hasattr(values, "items"):
        return [f"{name}={values!r} is not a section with the settings {', '.join(section)}"]
    lines = []
    for key, found in section.items():
        where = f"{name}.{key}"
        if key not in values:
            lines.append(f"{where} is missing" + ("" if isinstance(found, Mapping) else f": {found.range} ({found.meaning})"))
        elif isinstance(found, Mapping):
            lines += problems(where, values[key], found)
        elif not found.accepts(values[key]):
            lines.append(f"{where}={plain(values[key])!r} is not {found.range}: {found.meaning}")
    return lines + [f"{name}.{key}: there is no such setting{did_you_mean(key, section)}" for key in values if key not in section]


def require(name: str, values: Any, section: Section) -> None:
    """Raises SettingError where a section's values are not what it declares."""
    if lines := problems(name, values, section):
        raise SettingError(all_of(lines))


def must_divide(name: str, value: int, other: str, total: int) -> None:
    """Raises SettingError, naming both settings, where one's value does not divide the other's."""
    if value < 1 or total % value:
        raise SettingError(f"{name}={value} does not divide {other}={total}")


def all_of(lines: Sequence[str]) -> str:
    """One message: the line itself, or how many there are and each on a line of its own."""
    return lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} settings are wrong:", *lines])


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A suggestion to be put behind a message about a name that there is not: the nearest known one, else all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}" if known else ""


def plain(value: Any) -> Any:
    """A value as it is shown: a section as a dictionary."""
    return {key: plain(found) for key, found in value.items()} if hasattr(value, "items") else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
