"""What every reader produces and every prediction is turned back into: plain, frozen Python values without JAX.

Spans are end-exclusive word indices. Boxes are (x_min, y_min, x_max, y_max), each in [0, 1], origin at the top left.
"""

from __future__ import annotations

import dataclasses

SPLITS = ("train", "val", "test")

Box = tuple[float, float, float, float]


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
    """A directed relation between two mentions. `label` is None for a pair whose relation is not known (to be predicted)."""

    head: Mention
    tail: Mention
    label: str | None = None
    score: float | None = None


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
    """(entity mention, relation, region of the picture)."""

    mention: Mention
    label: str
    box: Box
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """One post: its words, its picture, and what is annotated of them.

    `image` is a path to the picture, already resolved inside its root (it may not exist: missing pictures are masked), or a
    key of a prepared picture store; None where the record has none. `origin` names file and line for error messages. `dangling` are
    the words that begin a mention although their published tag is I-X, which the reference flavour learns as it is.
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
    dangling: tuple[int, ...] = ()

    def text(self, span: tuple[int, int]) -> str:
        """The words of a span, joined by single spaces."""
        return " ".join(self.words[span[0] : span[1]])


def check_span(start: object, end: object, words: int, where: str) -> tuple[int, int]:
    """Returns (start, end) as a valid, non-empty, end-exclusive span inside `words` words.

    Raises:
      RecordError: naming `where`, what was found and what was expected.
    """
    if not (isinstance(start, int) and isinstance(end, int)) or isinstance(start, bool) or isinstance(end, bool):
        raise RecordError(f"{where}: a span is two integers [start, end), found [{start!r}, {end!r}]")
    if not 0 <= start < end <= words:
        raise RecordError(f"{where}: span [{start}, {end}) does not lie inside the record's {words} words")
    return start, end


def check_box(box: object, where: str) -> Box:
    """Returns `box` as a valid normalised xyxy box.

    Raises:
      RecordError: if it is not four finite numbers with 0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1.
    """
    if not isinstance(box, (list, tuple)) or len(box) != 4 or not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in box):
        raise RecordError(f"{where}: a box is four numbers [x_min, y_min, x_max, y_max], found {box!r}")
    x0, y0, x1, y1 = (float(x) for x in box)
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise RecordError(
            f"{where}: box {box!r} is not 0 <= x_min < x_max <= 1, 0 <= y_min < y_max <= 1 (boxes are normalised by the picture's size)"
        )
    return x0, y0, x1, y1
