"""Spans and boxes: what is let through is valid, what is refused is told where and why."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.records import Box, Mention, Record, RecordError, check_box, check_span

WHERE = "data/train.jsonl:7: head"
ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(-3, 12), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=2))


@given(st.integers(0, 20), st.integers(1, 20), st.integers(0, 20))
def test_spans_inside_the_words_pass(start: int, length: int, after: int) -> None:
    assert check_span(start, start + length, start + length + after, WHERE) == (start, start + length)


@given(ANYTHING, ANYTHING, st.integers(0, 10))
def test_a_span_is_valid_or_refused(start: Any, end: Any, words: int) -> None:
    valid = type(start) is int and type(end) is int and 0 <= start < end <= words
    if valid:
        assert check_span(start, end, words, WHERE) == (start, end)
        assert Record("a", tuple("x" * words)).text((start, end)) == " ".join("x" * (end - start))
    else:
        with pytest.raises(RecordError, match=f"^{re.escape(WHERE)}: ") as caught:
            check_span(start, end, words, WHERE)
        assert repr(start) in str(caught.value) and repr(end) in str(caught.value)


@pytest.mark.parametrize(("start", "end"), [(2, 2), (3, 2), (-1, 1), (0, 6), (5, 6), (True, 2), (0.0, 1.0), ("0", 1), (0, None)])
def test_spans_outside_are_refused(start: Any, end: Any) -> None:
    with pytest.raises(RecordError, match="span"):
        check_span(start, end, 5, WHERE)


unit = st.floats(0, 1)


@given(unit, unit, unit, unit, st.sampled_from([list, tuple]))
def test_boxes_inside_the_picture_pass(a: float, b: float, c: float, d: float, kind: type) -> None:
    box = (min(a, b), min(c, d), max(a, b), max(c, d))
    if a == b or c == d:
        with pytest.raises(RecordError, match="is not 0 <= x_min < x_max <= 1"):
            check_box(kind(box), WHERE)
    else:
        found = check_box(kind(box), WHERE)
        assert found == box and isinstance(found, tuple) and all(type(x) is float for x in found)


@given(st.lists(st.one_of(st.floats(-0.5, 1.5), st.integers(-1, 2), st.sampled_from([math.nan, math.inf, None, "0", True])), max_size=5))
def test_a_box_is_valid_or_refused(box: list[Any]) -> None:
    numbers = len(box) == 4 and all(type(x) in (int, float) for x in box)
    if numbers and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1:
        assert check_box(box, WHERE) == tuple(map(float, box))
    else:
        with pytest.raises(RecordError, match=f"^{re.escape(WHERE)}: "):
            check_box(box, WHERE)


@pytest.mark.parametrize("box", [None, "0 0 1 1", "0011", {"x": 0}, {0, 1, 2, 3}, 1.0, [], [[0, 0, 1, 1]]])
def test_what_is_no_box_is_refused(box: Any) -> None:
    with pytest.raises(RecordError, match="a box is four numbers"):
        check_box(box, WHERE)


def test_whole_picture_in_integers() -> None:
    whole: Box = check_box([0, 0, 1, 1], WHERE)
    assert whole == (0.0, 0.0, 1.0, 1.0)


def test_text_of_a_mention() -> None:
    record = Record("a", ("Ada", "met", "Charles", "Babbage"), mentions=(Mention(0, 1), Mention(2, 4)))
    assert [record.text(mention.span) for mention in record.mentions] == ["Ada", "Charles Babbage"]
