"""Texts between tags that do not stand in them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.prompts import marking
from mmre_jax.records import Mention, Record, Relation

ODD = ["<head>", "</head>", "<TAIL>", "</text>", "<head2>", "<", ">", "head", "/", "Paris", "é", "🙂"]


def record_of(words, head, tail, string=None, places=()):
    return Record("r", tuple(words), relations=(Relation(Mention(*head), Mention(*tail), "x"),), string=string, places=places)


def test_by_hand():
    record = record_of(["RT", "@a", ":", "New", "York", "won"], (3, 5), (1, 2))
    text, names = marking.tagged(record, record.relations[0])
    assert text == "<text>\nRT <tail>@a</tail> : <head>New York</head> won\n</text>" and names["head"] == "head"
    assert marking.tagged(record)[0] == "<text>\nRT @a : New York won\n</text>"


def test_nested_entities_have_nested_tags():
    record = record_of(["New", "York", "Yankees"], (0, 2), (0, 3))
    assert "<tail><head>New York</head> Yankees</tail>" in marking.tagged(record, record.relations[0])[0]


def test_a_text_as_it_was_written():
    record = record_of(["Ada", "'s", "dog"], (0, 1), (2, 3), string="Ada's  dog!", places=((0, 3), (3, 5), (7, 10)))
    assert marking.tagged(record, record.relations[0])[0] == "<text>\n<head>Ada</head>'s  <tail>dog</tail>!\n</text>"


def test_tags_that_stand_in_the_text_are_not_taken():
    assert marking.tags("see <Head> and </TEXT2>") == {"text": "text3", "head": "head3", "tail": "tail3"}
    assert marking.tags("a <headline> of its own")["head"] == "head"


@st.composite
def pairs(draw):
    words = draw(st.lists(st.sampled_from(ODD), min_size=1, max_size=6))
    spans = [sorted(draw(st.lists(st.integers(0, len(words)), min_size=2, max_size=2, unique=True))) for _ in range(2)]
    string, places = None, ()
    if draw(st.booleans()):  # nothing between the words, so that they make tags together
        string = "".join(words)
        ends = [sum(map(len, words[: i + 1])) for i in range(len(words))]
        places = tuple((end - len(word), end) for end, word in zip(ends, words, strict=True))
    return record_of(words, *spans, string=string, places=places)


@given(pairs())
def test_each_tag_stands_once_and_without_them_the_text_is_as_it_was(record):
    text, names = marking.tagged(record, record.relations[0])
    pair = record.relations[0]
    for name in marking.TAGS:
        assert text.casefold().count(f"<{names[name]}>") == text.casefold().count(f"</{names[name]}>") == 1
    plain = re.sub("|".join(f"</?{tag}>" for tag in names.values()), "", text)
    assert plain == f"\n{marking.written(record)[0]}\n"
    for name, side in (("head", pair.head), ("tail", pair.tail)):
        inside = text.split(f"<{names[name]}>")[1].split(f"</{names[name]}>")[0]
        assert re.sub("|".join(f"</?{tag}>" for tag in names.values()), "", inside) == record.text(side.span)


@given(pairs())
def test_what_stands_in_a_span_is_found_there(record):
    for side in (record.relations[0].head, record.relations[0].tail):
        there = marking.standing(record, record.text(side.span))
        assert side.span in there and there == sorted(there)
        assert all(marking.plain(record.text(span)) == marking.plain(record.text(side.span)) for span in there)


@given(pairs(), st.lists(st.sampled_from(ODD), min_size=1, max_size=3))
def test_all_spans_in_which_a_text_stands_are_found(record, words):
    said, size = " ".join(words), len(record.words)
    spans = [(start, end) for start in range(size) for end in range(start + 1, size + 1)]
    assert marking.standing(record, said) == [span for span in spans if marking.plain(record.text(span)) == marking.plain(said)]


def test_a_text_is_looked_for_no_further_than_it_can_stand(monkeypatch):
    """Once a word; not in all spans of a long post for each thing that a long answer names."""
    record, plain, asked = record_of([f"w{i}" for i in range(300)], (0, 1), (1, 2)), marking.plain, []
    monkeypatch.setattr(marking, "plain", lambda text: asked.append(text) or plain(text))
    assert marking.standing(record, "a text that is nowhere") == [] and len(asked) == 301
