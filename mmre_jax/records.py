"""What every reader produces and every prediction is turned back into: plain, frozen Python values without JAX.

Spans are end-exclusive word indices. Boxes are (x_min, y_min, x_max, y_max), each in [0, 1], origin at the top left.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

SPLITS = ("train", "val", "test")

Box = tuple[float, float, float, float]

ROUNDING = 1e-6  # a box that leaves the picture by no more was written so, not drawn so


class RecordError(ValueError):
    """A record that breaks its format. The message names file, line, record and field."""


@dataclasses.dataclass(frozen=True)
class Mention:
    """An entity mention: words[start:end] and, where known, its type. `score` is set on predictions only."""

    start: int
    end: int
    type: str | None = None
    score: float | None = None

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.end


@dataclasses.dataclass(frozen=True)
class Relation:
    """A directed relation between two mentions. `label` is None for a pair whose relation is not known (to be predicted).

    `alternatives`, on predictions only and where they are asked for: labels with their probabilities, the most likely first.
    """

    head: Mention
    tail: Mention
    label: str | None = None
    score: float | None = None
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Region:
    """A part of the record's picture: a box in it, or a crop file published for it, or both.

    `source` says who found it: 'detected' (from the picture alone), 'grounded' (by a text query; leaks the label on MNRE), or 'gold'.
    """

    box: Box | None = None
    file: str | None = None
    source: str = "detected"
    label: str | None = None
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class Triple:
    """(entity mention, relation, region of the picture). `box` is None only of what was found in a post without a picture."""

    mention: Mention
    label: str
    box: Box | None
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """One post: its words, its picture, and what is annotated of them.

    `image` is a path to the picture, already resolved inside its root (it may not exist: missing pictures are masked), a key of a prepared
    picture store, or a picture that was given as itself (data/given.py); None where the record has none. `origin` names file and line for
    error messages. `meta` is what else its owner keeps with it, plain JSON values that nothing here looks at. `dangling` are the words that
    begin a mention although their published tag is I-X, which the reference flavour learns as it is. `string` is the text as written,
    where it is known, and `places` then says of every word where it stands in it, [start, end) in characters.
    """

    id: str
    words: tuple[str, ...]
    image: str | None = None
    mentions: tuple[Mention, ...] = ()
    relations: tuple[Relation, ...] = ()
    triples: tuple[Triple, ...] = ()
    regions: tuple[Region, ...] = ()
    caption: str | None = None
    origin: str = ""
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    dangling: tuple[int, ...] = ()
    string: str | None = None
    places: tuple[tuple[int, int], ...] = ()

    def text(self, span: tuple[int, int]) -> str:
        """What stands in a span: as it was written, where `string` is known, else its words joined by single spaces."""
        place = self.characters(span)
        return " ".join(self.words[span[0] : span[1]]) if place is None or self.string is None else self.string[slice(*place)]

    def characters(self, span: tuple[int, int]) -> tuple[int, int] | None:
        """Where a span of words stands in `string`, [start, end) in characters; None where the text is known by its words alone."""
        return (self.places[span[0]][0], self.places[span[1] - 1][1]) if self.string is not None else None


def plain(value: Any) -> Any:
    """A NumPy or JAX scalar or array as Python's own number or list of numbers; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def as_number(value: object) -> float | None:
    """A finite number of any kind, NumPy's included, as a float; None for anything else, truth values among it."""
    value = plain(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def digits(number: int) -> str:
    """A whole number for a message: of a long one the first digits."""
    try:
        return f"{number!s:.40}"
    except ValueError:  # Python writes out no more than some thousand digits
        return f"a number of {number.bit_length()} bits"


def check_span(start: object, end: object, words: int, where: str) -> tuple[int, int]:
    """Returns (start, end) as a valid, non-empty, end-exclusive span inside `words` words.

    Raises:
      RecordError: naming `where`, what was found and what was expected.
    """
    low, high = plain(start), plain(end)
    if any(not isinstance(side, numbers.Integral) or isinstance(side, bool) for side in (low, high)):
        raise RecordError(f"{where}: a span is two integers [start, end), found [{low!r:.40}, {high!r:.40}]")
    if not 0 <= low < high <= words:
        raise RecordError(f"{where}: span [{digits(low)}, {digits(high)}) does not lie inside the record's {words} words")
    return int(low), int(high)


def check_box(box: object, where: str) -> Box:
    """Returns `box` as a valid normalised xyxy box: four numbers of any kind, a list, a tuple or an array of them.

    What leaves the picture by rounding is cut off.

    Raises:
      RecordError: if it is not four finite numbers with 0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1; says what it looks like.
    """
    sides = plain(box)
    shown = f"{sides!r:.160}"
    found = [as_number(side) for side in sides] if isinstance(sides, (list, tuple)) and len(sides) == 4 else []
    if len(found) != 4 or None in found:
        raise RecordError(f"{where}: a box is four numbers [x_min, y_min, x_max, y_max], found {shown}")
    inside, cut = clip_box((found[0], found[1], found[2], found[3]))
    if inside is None or cut:
        rule = "0 <= x_min < x_max <= 1, 0 <= y_min < y_max <= 1 (boxes are normalised by the picture's size)"
        raise RecordError(f"{where}: box {shown} is not {rule}{_looks_like(found)}")
    return inside


def clip_box(corners: Box) -> tuple[Box | None, bool]:
    """(the part of a normalised xyxy box inside the picture, None if there is none; whether more than rounding was cut off)."""
    x0, y0, x1, y1 = (min(max(x, 0.0), 1.0) for x in corners)
    cut = any(abs(a - b) > ROUNDING for a, b in zip((x0, y0, x1, y1), corners, strict=True))
    return ((x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None), cut


def _looks_like(box: list[float]) -> str:
    """What four numbers that are no normalised corners probably are, to be put behind a message; '' where there is no telling."""
    x0, y0, x1, y1 = box
    if min(box) >= 0 and max(box) > 2:
        return ": it looks like pixels: divide by the picture's width and height"
    if min(box) < -ROUNDING or max(box) > 1 + ROUNDING:
        return ": it reaches out of the picture: cut it off at 0 and 1"
    if x0 < x1 and y0 < y1:
        return ""
    if x0 + x1 <= 1 + ROUNDING and y0 + y1 <= 1 + ROUNDING and min(x1, y1) > 0:
        return ": it looks like x_min, y_min, width, height, or like corners that are swapped"
    if x0 == x1 or y0 == y1:
        return ": it has no width or no height"
    return ": its corners are swapped: x_min and y_min come first"
