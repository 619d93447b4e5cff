"""Placing an annotated sentence: nothing on a line, a lane or a caption row overlaps, whatever the words and relations."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmre_jax.analysis import layout

LIMIT, GAP = 100.0, 5.0


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[float], dict, list]:
    widths = draw(st.lists(st.floats(2, 60), min_size=2, max_size=20))
    starts = st.integers(0, len(widths) - 1)
    spans = draw(st.lists(st.tuples(starts, st.integers(1, 4)), min_size=2, max_size=5))
    mentions = {(start, min(start + length, len(widths))): draw(st.sampled_from((0.0, 20.0, 50.0))) for start, length in spans}
    ends = st.sampled_from(sorted(mentions))
    return widths, mentions, draw(st.lists(st.tuples(ends, ends, st.floats(5, 80)), max_size=8))


def stretches(arc: layout.Arc, width: float) -> list[tuple[int, int, float, float]]:
    """(line, lane, left, right) of all that an arc and its label cover, written down anew from the arc alone."""
    (head_line, head_x), (tail_line, tail_x) = arc.head, arc.tail
    line, lane, middle = arc.label
    covered = [(line, lane, middle - width / 2, middle + width / 2)]
    if arc.turn is None:
        return [*covered, (head_line, arc.head_lane, min(head_x, tail_x), max(head_x, tail_x))]
    return [*covered, (head_line, arc.head_lane, head_x, arc.turn), (tail_line, arc.tail_lane, tail_x, arc.turn)]


@settings(max_examples=200, deadline=None)
@given(sentences())
def test_nothing_overlaps(sentence: tuple[list[float], dict, list]) -> None:
    widths, mentions, relations = sentence
    placed = layout.lay_out(widths, mentions, relations, gap=GAP, limit=LIMIT)
    covered = [(number, part) for number, arc in enumerate(placed.arcs) for part in stretches(arc, relations[number][2])]
    for (one, (line, lane, left, right)), (other, (its_line, its_lane, its_left, its_right)) in itertools.combinations(covered, 2):
        if one != other and (line, lane) == (its_line, its_lane):
            assert right < its_left or its_right < left
    assert all(lane < placed.lanes[line] for _, (line, lane, _, _) in covered)
    captions = [
        (placed.mentions[span][0].line, placed.captions[span], placed.mentions[span][0].left, width)
        for span, width in mentions.items()
        if width
    ]
    for (line, row, left, width), (its_line, its_row, its_left, its_width) in itertools.combinations(captions, 2):
        if (line, row) == (its_line, its_row):
            assert left + width < its_left or its_left + its_width < left
    assert all(row < placed.rows[line] for line, row, _, _ in captions)


@settings(max_examples=200, deadline=None)
@given(sentences())
def test_arrows_start_and_end_at_their_mentions(sentence: tuple[list[float], dict, list]) -> None:
    widths, mentions, relations = sentence
    placed = layout.lay_out(widths, mentions, relations, gap=GAP, limit=LIMIT)
    for (head, tail, label), arc in zip(relations, placed.arcs, strict=True):
        for span, (line, x) in ((head, arc.head), (tail, arc.tail)):
            first = placed.mentions[span][0]
            assert line == first.line and first.left < x < first.right
        assert (arc.turn is None) == (arc.head[0] == arc.tail[0])
        assert arc.label[2] - label / 2 >= -1e-9 and arc.label[2] + label / 2 <= LIMIT + 1e-9
    turns = [arc.turn for arc in placed.arcs if arc.turn is not None]
    assert len(set(turns)) == len(turns) and all(turn > LIMIT for turn in turns) and placed.right() == max(turns, default=0)
    for (line, x), (its_line, its_x), width in zip(placed.words, placed.words[1:], widths, strict=False):
        assert (its_line == line and x + width + GAP <= its_x + 1e-9) or (its_line == line + 1 and its_x == 0)
    for (line, x), width in zip(placed.words, widths, strict=True):
        assert x + width <= LIMIT, line


def test_a_mention_over_a_line_break_has_two_pieces() -> None:
    placed = layout.lay_out([40, 40, 40], {(1, 3): 0.0}, [], gap=5, limit=100)
    assert placed.words == ((0, 0), (0, 45), (1, 0))
    assert placed.mentions[1, 3] == (layout.Piece(0, 45, 85), layout.Piece(1, 0, 40))


def test_arrows_between_two_mentions_do_not_cross_each_other() -> None:
    placed = layout.lay_out(
        [10, 10, 10], {(0, 1): 0.0, (1, 2): 0.0, (2, 3): 0.0}, [((0, 1), (2, 3), 5), ((0, 1), (1, 2), 5)], gap=5, limit=100
    )
    far, near = placed.arcs
    assert near.head[1] < far.head[1], "ends are spread in the order of their other ends"
    assert near.head_lane == 0 and far.head_lane == 1, "the short one lies lowest"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain $5", "plain $5"),
        ("a\tb\x07c", "a b c"),
        ("\u26bd\ufe0f!", f"{layout.STAND_IN}!"),
        ("x\u200dy", "xy"),
        ("e\u0301", "e"),
        ("\u6f22", layout.STAND_IN),
        ("\ud800", layout.STAND_IN),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert layout.printable(text, lambda char: ord(char) < 0x250 or char == layout.STAND_IN) == expected


def test_a_font_without_the_square_gets_question_marks() -> None:
    assert layout.printable("a\u6f22", str.isascii) == "a?"


def test_shorten_keeps_what_fits() -> None:
    assert layout.shorten("word", 4, len) == "word"
    assert layout.shorten("longer word", 5, len) == "long\N{HORIZONTAL ELLIPSIS}"
