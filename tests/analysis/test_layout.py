"""Placing an annotated sentence: nothing on a line, a lane or a caption row overlaps, whatever the words and relations."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
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
    assert len(set(turns)) == len(turns) and all(turn > LIMIT for turn in turns) and placed.right >= max(turns, default=0)
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


def test_shorten_keeps_what_fits() -> None:
    assert layout.shorten("word", 4, len) == "word"
    assert layout.shorten("longer word", 5, len) == "long\N{HORIZONTAL ELLIPSIS}"


@given(st.text(alphabet="iWm", max_size=200), st.floats(2, 300))
def test_shorten_keeps_as_much_as_fits(text: str, width: float) -> None:
    """By trying every length."""

    def measure(text: str) -> float:
        return sum({"i": 1, "m": 3, "W": 4}.get(letter, 2) for letter in text)

    fitting = [text] if measure(text) <= width else [text[:n] + layout.ELLIPSIS for n in range(len(text)) if measure(text[:n]) + 2 <= width]
    assert layout.shorten(text, width, measure) == max(fitting, key=len)


def test_shorten_measures_only_the_beginning_of_a_long_text() -> None:
    measured = []

    def measure(text: str) -> float:
        measured.append(len(text))
        return len(text)

    assert layout.shorten("x" * 1_000_000, 100, measure) == "x" * 99 + layout.ELLIPSIS
    assert sum(measured) < 2000


@given(sentences(), st.data())
def test_words_of_two_directions_keep_their_lines(sentence: tuple[list[float], dict, list], data: st.DataObject) -> None:
    widths, mentions, relations = sentence
    levels = data.draw(st.lists(st.integers(0, 2), min_size=2 * len(widths) - 1, max_size=2 * len(widths) - 1))
    plain = layout.lay_out(widths, mentions, relations, gap=GAP, limit=LIMIT)
    for right_to_left in (False, True):
        placed = layout.lay_out(widths, mentions, relations, gap=GAP, limit=LIMIT, levels=levels, right_to_left=right_to_left)
        assert [line for line, _ in placed.words] == [line for line, _ in plain.words]
        lines: dict[int, list[tuple[float, float]]] = {}
        for (line, x), width in zip(placed.words, widths, strict=True):
            lines.setdefault(line, []).append((x, x + width))
        for found in lines.values():
            found.sort()
            assert all(math.isclose(one[1] + GAP, other[0]) for one, other in itertools.pairwise(found))
        if right_to_left and any(levels):
            assert len({round(max(end for _, end in found), 6) for found in lines.values()}) == 1, "flush right"
        for span, pieces in placed.mentions.items():
            covered = {
                word
                for word, (line, x) in enumerate(placed.words)
                if any(piece.line == line and piece.left <= x and x + widths[word] <= piece.right for piece in pieces)
            }
            assert covered == set(range(*span)), "its own words and no other"
            first = placed.words[span[0]]
            assert pieces[0].line == first[0] and pieces[0].left <= first[1] < pieces[0].right


def test_right_to_left_words_run_right_to_left() -> None:
    placed = layout.lay_out([10, 20, 30, 40], {(1, 3): 0.0}, [], gap=5, limit=100, levels=[1] * 7, right_to_left=True)
    assert placed.words == ((0, 60), (0, 35), (0, 0), (1, 30))
    assert placed.mentions[1, 3] == (layout.Piece(0, 0, 55),) and placed.right == 70


@given(st.one_of(st.none(), st.tuples(*[st.integers(1, 900)] * 2)), st.lists(st.tuples(*[st.integers(1, 99)] * 2)))
def test_pictures_keep_their_proportions_apart_and_inside(photo: tuple[int, int] | None, crops: list[tuple[int, int]]) -> None:
    found = layout.arrange((20, 10, 680, 250), photo, crops)
    frames = [found.photo, *found.crops]
    for (tall, wide), (_, _, width, height) in zip([photo or (3, 4), *crops], frames, strict=True):
        assert math.isclose(width * tall, height * wide, rel_tol=1e-6)
    assert found.right == max([found.photo[0] + found.photo[2], *(left + found.side for left, _, _, _ in found.crops)])
    for left, top, width, height in frames:
        assert left >= 20 and top >= 10 and left + width <= min(found.right, 700) + 1e-6 and top + height <= min(found.bottom, 260) + 1e-6
