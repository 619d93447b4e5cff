"""Where the words, entities and arrows of an annotated sentence go. Lengths are in points, x to the right; no drawing happens here.

Each line of text has lanes above it, the lowest nearest to the words. A relation between two mentions on one line runs along one lane.
Between two lines it runs along a lane of each, joined by a vertical stretch in the margin right of the text: no arrow crosses words.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Sequence

Span = tuple[int, int]

STAND_IN = "\N{WHITE SQUARE}"
CLEARANCE = 6.0  # between two things on one lane, and between two arrows in the margin
MARGIN = 10.0  # from the text to the first arrow in the margin


@dataclasses.dataclass(frozen=True)
class Piece:
    """The stretch of a mention on one line."""

    line: int
    left: float
    right: float


@dataclasses.dataclass(frozen=True)
class Arc:
    """An arrow from one place above the text to another. `turn` is the x of its vertical stretch, None within one line."""

    head: tuple[int, float]  # line, x
    tail: tuple[int, float]
    head_lane: int
    tail_lane: int
    turn: float | None
    label: tuple[int, int, float]  # line, lane, x of the label's middle


@dataclasses.dataclass(frozen=True)
class SentenceLayout:
    """A sentence in place."""

    words: tuple[tuple[int, float], ...]  # line and left edge of each
    mentions: dict[Span, tuple[Piece, ...]]
    captions: dict[Span, int]  # the row below the line that the mention's caption stands in
    arcs: tuple[Arc, ...]  # one a relation
    lanes: tuple[int, ...]  # how many each line needs above it
    rows: tuple[int, ...]  # how many each line needs below it

    def right(self) -> float:
        """The x of the outermost arrow in the margin; 0 where there is none."""
        return max((arc.turn for arc in self.arcs if arc.turn is not None), default=0.0)


def printable(text: str, has_glyph: Callable[[str], bool]) -> str:
    """`text` as a font can show it: controls become spaces, joiners and selectors go, a missing glyph becomes a square (or '?')."""
    stand_in = STAND_IN if has_glyph(STAND_IN) else "?"
    shown = []
    for char in text:
        category = unicodedata.category(char)
        selector = 0xFE00 <= ord(char) <= 0xFE0F
        if category == "Cf" or selector or (category in ("Mn", "Me") and not has_glyph(char)):
            continue
        if category in ("Cc", "Zl", "Zp"):
            shown.append(" ")
        else:
            shown.append(char if has_glyph(char) else stand_in)
    return "".join(shown)


def shorten(text: str, width: float, measure: Callable[[str], float]) -> str:
    """`text`, or as much of its beginning as fits into `width` with an ellipsis."""
    if measure(text) <= width:
        return text
    keep = len(text)
    while keep and measure(text[:keep] + "\N{HORIZONTAL ELLIPSIS}") > width:
        keep -= 1
    return text[:keep] + "\N{HORIZONTAL ELLIPSIS}"


def wrap(widths: Sequence[float], gap: float, limit: float) -> list[tuple[int, float]]:
    """(line, left edge) of words of these widths, `gap` apart, on lines no longer than `limit` (a wider word has a line to itself)."""
    places, line, x = [], 0, 0.0
    for width in widths:
        if x > 0 and x + width > limit:
            line, x = line + 1, 0.0
        places.append((line, x))
        x += width + gap
    return places


def lay_out(
    widths: Sequence[float],
    mentions: dict[Span, float],
    relations: Sequence[tuple[Span, Span, float]],
    *,
    gap: float,
    limit: float,
) -> SentenceLayout:
    """Places a sentence with its mentions and relations.

    Args:
      widths: of each word.
      mentions: each span, end-exclusive, with the width of the caption below it (0 for none).
      relations: (head span, tail span, width of the label); both spans are keys of `mentions`.
      gap: between words.
      limit: width of the text block.
    """
    places = wrap(widths, gap, limit)
    lines = places[-1][0] + 1
    pieces = {span: _pieces(span, places, widths) for span in mentions}
    captions, below = {}, Tracks(lines)
    for span in sorted(mentions):
        first = pieces[span][0]
        captions[span] = below.take(first.line, first.left, first.left + mentions[span]) if mentions[span] else 0
    arcs, lanes = _route(_spread(pieces, relations), [label for _, _, label in relations], lines=lines, limit=limit)
    return SentenceLayout(tuple(places), pieces, captions, arcs, lanes, below.counts())


class Tracks:
    """Parallel tracks beside each line of text, handed out so that nothing on a track overlaps."""

    def __init__(self, lines: int) -> None:
        self._taken: list[list[list[tuple[float, float]]]] = [[] for _ in range(lines)]  # [line][track] -> occupied stretches

    def take(self, line: int, left: float, right: float) -> int:
        """The track of `line` nearest to the words that is free from `left` to `right`, which it now is no longer."""
        for track, stretches in enumerate(self._taken[line]):
            if all(right + CLEARANCE <= low or high + CLEARANCE <= left for low, high in stretches):
                stretches.append((left, right))
                return track
        self._taken[line].append([(left, right)])
        return len(self._taken[line]) - 1

    def counts(self) -> tuple[int, ...]:
        """How many tracks each line uses."""
        return tuple(len(tracks) for tracks in self._taken)


def _pieces(span: Span, places: Sequence[tuple[int, float]], widths: Sequence[float]) -> tuple[Piece, ...]:
    by_line: dict[int, list[int]] = {}
    for word in range(*span):
        by_line.setdefault(places[word][0], []).append(word)
    return tuple(Piece(line, places[words[0]][1], places[words[-1]][1] + widths[words[-1]]) for line, words in by_line.items())


def _spread(
    pieces: dict[Span, tuple[Piece, ...]], relations: Sequence[tuple[Span, Span, float]]
) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    """Where each relation leaves its head and reaches its tail: spread over a mention's first piece, in the order of the other ends."""
    places: dict[tuple[int, int], tuple[int, float]] = {}
    for span, (first, *_) in pieces.items():
        ends = [(number, role) for number, pair in enumerate(relations) for role in (0, 1) if pair[role] == span]
        ends.sort(key=lambda end: (relations[end[0]][1 - end[1]], end))
        for at, end in enumerate(ends, 1):
            places[end] = (first.line, first.left + (first.right - first.left) * at / (len(ends) + 1))
    return [(places[number, 0], places[number, 1]) for number in range(len(relations))]


def _route(
    ends: Sequence[tuple[tuple[int, float], tuple[int, float]]], labels: Sequence[float], *, lines: int, limit: float
) -> tuple[tuple[Arc, ...], tuple[int, ...]]:
    """Lanes for all arcs, short ones first so that they lie lowest, and how many lanes each line needs."""
    above = Tracks(lines)
    arcs: dict[int, Arc] = {}
    turn = limit + MARGIN
    for number in sorted(range(len(ends)), key=lambda n: (abs(ends[n][0][0] - ends[n][1][0]), abs(ends[n][0][1] - ends[n][1][1]))):
        (head_line, head_x), (tail_line, tail_x) = ends[number]
        half = labels[number] / 2
        if head_line == tail_line:
            middle = max(min((head_x + tail_x) / 2, limit - half), half)
            lane = above.take(head_line, min(head_x, tail_x, middle - half), max(head_x, tail_x, middle + half))
            arcs[number] = Arc(*ends[number], lane, lane, None, (head_line, lane, middle))
            continue
        at_head = head_x <= tail_x  # the label goes where the longer horizontal stretch is
        middle = max(min((min(head_x, tail_x) + limit) / 2, limit - half), half)
        head_lane = above.take(head_line, min(head_x, middle - half) if at_head else head_x, turn)
        tail_lane = above.take(tail_line, tail_x if at_head else min(tail_x, middle - half), turn)
        label = (head_line, head_lane, middle) if at_head else (tail_line, tail_lane, middle)
        arcs[number] = Arc(*ends[number], head_lane, tail_lane, turn, label)
        turn += CLEARANCE
    return tuple(arcs[number] for number in range(len(ends))), above.counts()
