"""Entity markers: in which order they go into a sentence, and which of its pieces stay beside them where it is too long."""

from __future__ import annotations

from collections.abc import Sequence

MARKERS = ("<s>", "</s>", "<o>", "</o>")  # head opens, head closes, tail opens, tail closes

Span = tuple[int, int]


def nested_order(head: Span, tail: Span) -> list[tuple[int, int]]:
    """(marker, word boundary) in the order of insertion, properly nested wherever the spans can be.

    At one boundary an entity that ends closes before another opens; of two that open together the longer comes first (the head, if
    equal), and of two that close together the one that opened last goes first.
    """
    spans = {0: head, 1: tail}
    opened = sorted(spans, key=lambda i: (spans[i][0], -spans[i][1], i))
    closes = [(spans[i][1], 0, -opened.index(i), 2 * i + 1) for i in spans]
    opens = [(spans[i][0], 1, opened.index(i), 2 * i) for i in spans]
    return [(marker, boundary) for boundary, _, _, marker in sorted(closes + opens)]


def released_order(head: Span, tail: Span) -> list[tuple[int, int]]:
    """(marker, word boundary) as the released code inserts them: in marker order at every boundary, nested or not."""
    return sorted(enumerate((*head, *tail)), key=lambda item: (item[1], item[0]))


def nearest(owners: Sequence[int], head: Span, tail: Span, room: int) -> list[int]:
    """Indices of the `room` pieces nearest to the two entities, in sentence order; the entities' own first pieces come first of all.

    Args:
      owners: the word that each piece comes from, ascending.
      room: at least 2, so that either entity keeps a piece.
    """
    spans = (head, tail)
    starts = [next((i for i, word in enumerate(owners) if word >= start), 0) for start, _ in spans]

    def priority(index: int) -> tuple[int, int]:
        word = owners[index]
        inside = [index - first for first, (start, end) in zip(starts, spans, strict=True) if start <= word < end]
        if inside:
            return 0, min(inside)
        return 1, min(start - word if word < start else word - end + 1 for start, end in spans)

    return sorted(sorted(range(len(owners)), key=lambda i: (*priority(i), i))[:room])
