"""Words of a string: every character but white space is in one, at the place that is told; names are found where they stand."""

import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmre_jax.data import words

PIECES = ("Ada", "'s", "’s", "'", "@", "#", ".", ",", "3", "1,000", "-", "_", "https://a.org/b", "www.x.org", "a@b.org", "(", ")", "/")
PIECES += (
    " ",
    "\n",
    "\u3000",
    "\x1c",
    "北京",
    "カー",
    "👩\u200d👧",
    "👍🏽",
    "🇩🇪",
    "1\ufe0f\u20e3",
    "\u0301",
    "\u200d",
    "\u200c",
    "\ufe0f",
    "é",
    "ไทย",
    "김",
)
TEXT = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)


def split(text, cuts=()):
    return list(words.words_at(text, words.split(text, cuts)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ada's friend", "Ada|'s|friend"),
        ("Grace’s, the boys' and O'Neil's", "Grace|’s|,|the|boys|'|and|O'Neil|'s"),
        ("(don't) it's Anne-Marie -- x", "(|don't|)|it|'s|Anne-Marie|-|-|x"),
        ("@ada: #AdaLovelace", "@|ada|:|#|AdaLovelace"),
        ("@ada_l's _x_", "@|ada_l|'s|_x_"),
        ("3.5, 1,000. 10:30 -2 50% $5 B2B 3rd", "3.5|,|1,000|.|10:30|-|2|50|%|$|5|B2B|3rd"),
        ("(see https://a.org/b_(c)?d=e&f#g). www.x.org, x", "(|see|https://a.org/b_(c)?d=e&f#g|)|.|www.x.org|,|x"),
        ("https:// ftp://x http://t.co/a…", "https|:|/|/|ftp://x|http://t.co/a|…"),
        ("a.b+c@d-e.co.uk. x@y", "a.b+c@d-e.co.uk|.|x|@|y"),
        ("爱北京iPhone手机，カー々", "爱|北|京|iPhone|手|机|，|カ|ー|々"),
        ("请写ada@b.com谢看https://t.co/a吧", "请|写|ada@b.com|谢|看|https://t.co/a|吧"),
        ("김철수는 서울에", "김철수는|서울에"),
        ("hi😂😂 👩‍👩‍👧 👍🏽! 🇩🇪🇫🇷 1️⃣ ❤️ #️⃣", "hi|😂|😂|👩‍👩‍👧|👍🏽|!|🇩🇪|🇫🇷|1️⃣|❤️|#️⃣"),
        ("می‌خواهم e\u0301te\u0301", "می‌خواهم|e\u0301te\u0301"),
        ("a\u00a0b\u3000c\x1cd\u2028e", "a|b|c|d|e"),
        ("\ud83d x", "\ud83d|x"),
        (" \n", ""),
    ],
)
def test_documented_rules(text, found):
    assert split(text) == (found.split("|") if found else [])


@given(TEXT)
@example("😀\u200d \u0301a")
def test_words_at_their_places_are_the_text_without_its_white_space(text):
    places = words.split(text)
    assert all(start < end for start, end in places) and all(a[1] <= b[0] for a, b in zip(places, places[1:], strict=False))
    assert not any(character.isspace() for word in split(text) for character in word)
    assert "".join(split(text)) == "".join(character for character in text if not character.isspace())


@given(TEXT)
def test_a_word_alone_is_itself(text):
    found = split(text)
    assert all(split(word) == [word] for word in found)
    assert split(" ".join(found)) == found


def test_white_space_is_that_of_python():
    spaces = [chr(number) for number in range(sys.maxunicode + 1) if chr(number).isspace()]
    assert words.split("".join(spaces)) == ()
    assert split("a".join(spaces)) == ["a"] * (len(spaces) - 1)


@given(TEXT, st.data())
def test_cuts_are_borders_and_change_no_other_word(text, data):
    cuts = data.draw(st.lists(st.integers(0, len(text))))
    places = words.split(text, cuts)
    assert "".join(words.words_at(text, places)) == "".join(text.split())
    assert not any(start < cut < end for cut in cuts for start, end in places)
    whole = [place for place in words.split(text) if not any(place[0] < cut < place[1] for cut in cuts)]
    assert set(whole) <= set(places)


@given(TEXT)
def test_at_spaces(text):
    assert list(words.words_at(text, words.at_spaces(text))) == text.split()


@given(TEXT, st.data())
def test_any_place_can_be_a_span(text, data):
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    if not (named := text[start:end]) or named[0].isspace() or named[-1].isspace():
        return
    places = words.split(text, (start, end))
    span = words.span_of(places, (start, end))
    assert places[span[0]][0] == start and places[span[1] - 1][1] == end
    covering = words.covering(words.split(text), (start, end))
    outer = words.split(text)
    assert outer[covering[0]][0] <= start and outer[covering[1] - 1][1] >= end


@given(TEXT)
def test_words_are_found_in_their_text(text):
    for places in (words.split(text), words.at_spaces(text)):
        assert words.align(text, words.words_at(text, places)) == places


def test_words_that_were_made_otherwise():
    assert words.align("a  b-c", ["a", "b", "c"]) == ((0, 1), (3, 4), (5, 6)), "what is in no word may stand between"
    assert words.align("two words", ["two words"]) == ((0, 9),)
    assert words.align("a \u00a0 b", ["a", "\u00a0", "b"]) == ((0, 1), (2, 3), (4, 5))
    assert words.align("a b", ["b", "a"]) is None and words.align("a", ["a", "a"]) is None


@pytest.mark.parametrize(
    ("text", "wanted", "places"),
    [
        ("Ada's friend", "Ada", [(0, 3)]),
        ("RT @ada: hi", "ada", [(4, 7)]),
        ("RT @ada: hi", "Ada", [(4, 7)]),
        ("RT @ada: hi, Ada", "Ada", [(13, 16)]),
        ("RT @ada: hi", "@ada", [(3, 7)]),
        ("#Ada! (Ada)", "Ada", [(1, 4), (7, 10)]),
        ("#AdaLovelace", "Lovelace", [(4, 12)]),
        ("#AdaLovelace", "Ada", [(1, 4)]),
        ("#AdaLovelace", "AdaLovelace", [(1, 12)]),
        ("我爱北京天安门", "北京", [(2, 4)]),
        ("北京大学在北京", "北京", [(0, 2), (5, 7)]),
        ("김철수는 서울에", "김철수", [(0, 3)]),
        ("New\nYork-based", "New York", [(0, 8)]),
        ("the Obama-led", "Obama", [(4, 9)]),
        ("Obama-led by Obama", "Obama", [(13, 18)]),
        ("see https://a.org/Ada/x", "Ada", [(18, 21)]),
        ("Ankara'da", "Ankara", [(0, 6)]),
        ("Annual", "Ann", []),
        ("Ada\u0301", "Ada", []),
        ("👩‍👧", "👩", []),
        ("a b a b a", "a b a", [(0, 5), (4, 9)]),
        ("Ada", " ", []),
        ("U.S. (AT&T)", "U.S.", [(0, 4)]),
        ("U.S. (AT&T)", "AT&T", [(6, 10)]),
    ],
)
def test_where_a_string_stands(text, wanted, places):
    assert words.occurrences(text, wanted) == places


@given(TEXT)
def test_every_word_is_found(text):
    for place in words.split(text):
        assert place in words.occurrences(text, text[slice(*place)])
