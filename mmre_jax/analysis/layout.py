"""Where the words, entities and arrows of an annotated sentence go. Lengths are in points, x to the right; no drawing happens here.

Each line of text has lanes above it, the lowest nearest to the words. A relation between two mentions on one line runs along one lane.
Between two lines it runs along a lane of each, joined by a vertical stretch in the margin right of the text: no arrow crosses words.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from mmre_jax.analysis.bidi import visual_order

Span = tuple[int, int]
Frame = tuple[float, float, float, float]  # left, top, width, height

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
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
    right: float  # the x of what reaches furthest


def shorten(text: str, width: float, measure: Callable[[str], float]) -> str:
    """`text`, or as much of its beginning as fits into `width` with an ellipsis. Of a long text only the beginning is measured."""
    few, many = 0, 32  # letters that fit, and that may not
    while many < len(text) and measure(text[:many]) <= width:
        many *= 2
    if many >= len(text) and measure(text) <= width:
        return text
    many = min(many, len(text))
    while few + 1 < many:
        middle = (few + many) // 2
        if measure(text[:middle] + ELLIPSIS) <= width:
            few = middle
        else:
            many = middle
    return text[:few] + ELLIPSIS


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
    levels: Sequence[int] = (),
    right_to_left: bool = False,
) -> SentenceLayout:
    """Places a sentence with its mentions and relations.

    Args:
      widths: of each word.
      mentions: each span, end-exclusive, with the width of the caption below it (0 for none).
      relations: (head span, tail span, width of the label); both spans are keys of `mentions`.
      gap: between words.
      limit: width of the text block.
      levels: embedding levels of the words and the spaces between them (bidi.py); left to right without them.
      right_to_left: whether lines begin at the right.
    """
    places = ordered(wrap(widths, gap, limit), widths, gap, levels, right_to_left)
    lines = max((line for line, _ in places), default=-1) + 1
    ranks = [0] * len(places)  # of each word, as the eye goes
    for rank, word in enumerate(sorted(range(len(places)), key=places.__getitem__)):
        ranks[word] = rank
    pieces = {span: _pieces(span, places, widths, ranks) for span in mentions}
    captions, below = {}, Tracks(lines)
    for span in sorted(mentions):
        first = pieces[span][0]
        captions[span] = below.take(first.line, first.left, first.left + mentions[span]) if mentions[span] else 0
    arcs, lanes = _route(_spread(pieces, relations), [label for _, _, label in relations], lines=lines, limit=limit)
    ends = [x + width for (_, x), width in zip(places, widths, strict=True)]
    ends += [pieces[span][0].left + width for span, width in mentions.items()]
    ends += [arc.label[2] + width / 2 for arc, (_, _, width) in zip(arcs, relations, strict=True)]
    ends += [arc.turn for arc in arcs if arc.turn is not None]
    return SentenceLayout(tuple(places), pieces, captions, arcs, lanes, below.counts(), max(ends, default=0.0))


def ordered(
    places: Sequence[tuple[int, float]], widths: Sequence[float], gap: float, levels: Sequence[int], right_to_left: bool
) -> list[tuple[int, float]]:
    """The places of words with each line in its visual order; lines that begin at the right end where the widest ends."""
    if not any(levels):
        return list(places)
    lines: dict[int, list[int]] = {}
    for word, (line, _) in enumerate(places):
        lines.setdefault(line, []).append(word)
    lengths = {line: sum(widths[word] for word in words) + gap * (len(words) - 1) for line, words in lines.items()}
    found: dict[int, tuple[int, float]] = {}
    for line, words in lines.items():
        x = max(lengths.values()) - lengths[line] if right_to_left else 0.0
        for place in visual_order(levels[2 * words[0] : 2 * words[-1] + 1]):
            word = words[place]
            found[word] = (line, x)
            x += widths[word] + gap
    return [found[word] for word in range(len(places))]


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


def _pieces(span: Span, places: Sequence[tuple[int, float]], widths: Sequence[float], ranks: Sequence[int]) -> tuple[Piece, ...]:
    """The stretches of a mention, the one with its first word first: one a line, but where words of two directions part it."""
    rows: list[list[int]] = []
    for word in sorted(range(*span), key=lambda word: ranks[word]):
        if rows and ranks[rows[-1][-1]] + 1 == ranks[word] and places[rows[-1][-1]][0] == places[word][0]:
            rows[-1].append(word)
        else:
            rows.append([word])
    rows.sort(key=lambda row: span[0] not in row)
    return tuple(Piece(places[row[0]][0], places[row[0]][1], places[row[-1]][1] + widths[row[-1]]) for row in rows)


def _spread(
    pieces: dict[Span, tuple[Piece, ...]], relations: Sequence[tuple[Span, Span, float]]
) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    """Where each relation leaves its head and reaches its tail: spread over a mention's first piece, in the order of the other ends."""
    places: dict[tuple[int, int], tuple[int, float]] = {}
    for span, (first, *_) in pieces.items():
        ends = [(number, role) for number, pair in enumerate(relations) for role in (0, 1) if pair[role] == span]
        ends.sort(key=lambda end: (_place(pieces, relations[end[0]][1 - end[1]]), end))
        for at, end in enumerate(ends, 1):
            places[end] = (first.line, first.left + (first.right - first.left) * at / (len(ends) + 1))
    return [(places[number, 0], places[number, 1]) for number in range(len(relations))]


def _place(pieces: dict[Span, tuple[Piece, ...]], span: Span) -> tuple[int, float, Span]:
    """Where a mention is, as the eye goes."""
    return pieces[span][0].line, pieces[span][0].left, span


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


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Where a photo and its crops go; lengths in points."""

    photo: Frame
    crops: tuple[Frame, ...]
    side: float  # of a crop's place, which is as wide as its caption may be
    right: float
    bottom: float


def arrange(frame: Frame, photo: tuple[int, int] | None, crops: Sequence[tuple[int, int]]) -> Gallery:
    """A photo, or a panel that stands for it, as large as it fits, and its crops right of it.

    Args:
      frame: what they are to fit into.
      photo: height and width of the photo, in pixels; None without one.
      crops: of each crop.
    """
    left, top, width, height = frame
    gap, below = 10.0, 13.0
    room = width * (0.55 if crops else 1.0)
    tall, wide = (3, 4) if photo is None else photo
    across = min(room, height * wide / tall, 200.0 if photo is None else math.inf)
    whole = (left, top, across, across * tall / wide)
    beside, rest = left + across + 16, width - across - 16
    sides = [
        (min(150.0, (rest - gap * (columns - 1)) / columns, height / math.ceil(len(crops) / columns) - below - gap), columns)
        for columns in range(1, len(crops) + 1)
    ]
    side, columns = max(sides, default=(0.0, 1))
    places, right, bottom = [], left + across, top + whole[3]
    for number, (tall, wide) in enumerate(crops):
        row, column = divmod(number, columns)
        x, y, scale = beside + column * (side + gap), top + row * (side + below + gap), side / max(tall, wide)
        places.append((x, y, wide * scale, tall * scale))
        right, bottom = max(right, x + side), max(bottom, y + tall * scale + below)
    return Gallery(whole, tuple(places), side, right, bottom)
