"""Spans and boxes: what is let through is valid, what is refused is told where and why."""

import dataclasses
import math
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.records import ROUNDING, Box, Mention, Record, RecordError, as_number, check_box, check_span, clip_box

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
    inside = [min(max(x, 0.0), 1.0) for x in box] if numbers else []
    near = numbers and all(abs(a - b) <= ROUNDING for a, b in zip(inside, box, strict=True))
    if near and inside[0] < inside[2] and inside[1] < inside[3]:
        assert check_box(box, WHERE) == tuple(inside)
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


@pytest.mark.parametrize(
    "box",
    [
        np.array([0.25, 0.5, 0.75, 1.0], np.float32),
        np.array([0.25, 0.5, 0.75, 1.0], np.float16),
        [np.float32(0.25), np.float64(0.5), 0.75, np.int64(1)],
        (np.float16(0.25), np.longdouble(0.5), np.float32(0.75), np.uint8(1)),
        jnp.array([0.25, 0.5, 0.75, 1.0]),
        [jnp.float32(0.25), np.array(0.5), 0.75, 1],
    ],
)
def test_numbers_of_any_kind_make_a_box(box: Any) -> None:
    found = check_box(box, WHERE)
    assert found == (0.25, 0.5, 0.75, 1.0) and all(type(x) is float for x in found)


def test_numbers_of_any_kind_make_a_span() -> None:
    for start, end in ((np.int64(0), np.uint8(2)), (jnp.int32(0), np.array(2)), tuple(np.array([0, 2]))):
        found = check_span(start, end, 3, WHERE)
        assert found == (0, 2) and all(type(x) is int for x in found)
    for strange in (np.bool_(True), np.float32(1), np.array([1, 2]), np.str_("1")):
        with pytest.raises(RecordError, match="two integers"):
            check_span(0, strange, 3, WHERE)


@pytest.mark.parametrize("value", [np.bool_(True), True, np.nan, np.float32("inf"), "1", None, 10**400, np.array([1.0])])
def test_what_is_no_finite_number(value: Any) -> None:
    assert as_number(value) is None
    with pytest.raises(RecordError, match="four numbers"):
        check_box([0, 0, value, 1], WHERE)


@pytest.mark.parametrize("past", [2.4e-8, 1.2e-7, 9e-7])
def test_what_rounding_explains_is_cut_off(past: float) -> None:
    assert check_box([-past, 0.2, 0.5, 1 + past], WHERE) == (0.0, 0.2, 0.5, 1.0)
    assert check_box(np.array([0.1, 0.2, 0.5, 1 + past], np.float32), WHERE)[3] == 1.0
    assert clip_box((-past, 0.2, 0.5, 1 + past)) == ((0.0, 0.2, 0.5, 1.0), False)


@given(st.tuples(*[st.floats(-2, 3)] * 4))
def test_a_clipped_box_is_the_part_inside(corners: Box) -> None:
    box, cut = clip_box(corners)
    if box is None:
        x0, y0, x1, y1 = corners
        assert min(x1, 1) <= max(x0, 0) or min(y1, 1) <= max(y0, 0)
    else:
        assert 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1
        assert clip_box(box) == (box, False)
        assert cut or box == pytest.approx(corners, abs=ROUNDING * 1.01)


@pytest.mark.parametrize(
    ("box", "hint"),
    [
        ([10, 20, 30, 40], "looks like pixels"),
        ([0, 0, 640, 480.5], "looks like pixels"),
        ([0.5, 0.5, 0.2, 0.9], "corners are swapped"),
        ([0.9, 0.1, 0.2, 0.5], "corners are swapped"),
        ([0.5, 0.5, 0.2, 0.3], "looks like x_min, y_min, width, height"),
        ([0.1, 0.2, 1.01, 0.5], "reaches out of the picture"),
        ([-0.1, 0.2, 0.5, 0.5], "reaches out of the picture"),
        ([0.7, 0.8, 0.7, 0.9], "no width or no height"),
    ],
)
def test_a_box_that_is_none_is_told_what_it_looks_like(box: Any, hint: str) -> None:
    with pytest.raises(RecordError, match=f"boxes are normalised.*: it.*{hint}"):
        check_box(box, WHERE)


def test_what_an_owner_keeps_with_a_record() -> None:
    one, other = Record("a", ("b",), meta={"n": [1]}), Record("a", ("b",))
    assert one != other and hash(one) == hash(other) and other.meta == {}


def test_text_of_a_mention() -> None:
    record = Record("a", ("Ada", "met", "Charles", "Babbage"), mentions=(Mention(0, 1), Mention(2, 4)))
    assert [record.text(mention.span) for mention in record.mentions] == ["Ada", "Charles Babbage"]


def test_the_text_of_a_span_is_as_it_was_written_where_that_is_known():
    record = Record("r", ("Ada", "'s", "李", "华"), string="Ada's 李华", places=((0, 3), (3, 5), (6, 7), (7, 8)))
    assert [record.text(span) for span in ((0, 2), (2, 4), (1, 3))] == ["Ada's", "李华", "'s 李"]
    assert dataclasses.replace(record, string=None, places=()).text((0, 2)) == "Ada 's"
