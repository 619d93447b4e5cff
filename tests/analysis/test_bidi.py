"""The order of words of right-to-left scripts, beside the layout engine in matplotlib, which does the same to letters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags

from mmre_jax.analysis import bidi

LATIN, HEBREW, ARABIC = "abcdefgh", "".join(map(chr, range(0x5D0, 0x5D6))), "\u062f\u0630\u0631\u0632\u0648"
DIGITS, ARABIC_DIGITS, NEUTRAL = "12345", "\u0661\u0662\u0663", "!?*&"


def in_order(words: list[str]) -> list[str]:
    return [words[place] for place in bidi.visual_order(bidi.levels(words))]


def by_engine(words: list[str]) -> list[str]:
    """Words of one letter each, by where the engine places them."""
    font = get_font(findfont(FontProperties()))
    font.set_size(100, 72)
    return [char for _, char in sorted((item.x, item.char) for item in font._layout(" ".join(words), LoadFlags.NO_HINTING)) if char != " "]


@given(st.lists(st.sampled_from(LATIN + HEBREW + ARABIC + DIGITS + ARABIC_DIGITS + NEUTRAL), min_size=1, max_size=9, unique=True))
def test_words_stand_where_the_engine_puts_their_letters(words: list[str]) -> None:
    assert in_order(words) == by_engine(words)


def test_an_order_worked_by_hand() -> None:
    one, two, three = "\u05e9\u05dc\u05d5\u05dd", "\u05d3\u05e0\u05d4", "\u05d2\u05e8\u05d4"
    assert in_order([one, two, three]) == [three, two, one]
    assert in_order([one, two, "Tel", "Aviv", "!"]) == ["!", "Tel", "Aviv", two, one]
    assert in_order(["In", one, two, "it", "is"]) == ["In", two, one, "it", "is"]
    assert in_order([one, "2", "3", two]) == [two, "3", "2", one]
    assert in_order(["a", "b", "c"]) == ["a", "b", "c"] and in_order(["!"]) == ["!"]


@pytest.mark.parametrize(
    ("word", "level", "expected"),
    [
        ("abc", 0, "abc"),
        ("abc", 2, "abc"),
        (HEBREW, 1, HEBREW),
        ("(", 1, "\N{RIGHT-TO-LEFT MARK}("),
        ("(", 0, "("),
        (f"{HEBREW[0]}-abc", 0, f"\N{LEFT-TO-RIGHT MARK}{HEBREW[0]}-abc"),
        (f"abc-{HEBREW[0]}", 1, f"\N{RIGHT-TO-LEFT MARK}abc-{HEBREW[0]}"),
    ],
)
def test_a_word_is_marked_where_its_letters_do_not_tell_its_direction(word: str, level: int, expected: str) -> None:
    assert bidi.marked(word, level) == expected
