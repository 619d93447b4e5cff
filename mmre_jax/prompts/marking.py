"""The text of a post as a prompt shows it: between tags, and its two entities between tags, none of which stands in the text itself."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from mmre_jax.data import markers
from mmre_jax.data.words import Place
from mmre_jax.records import Record, Relation

TAGS = ("text", "head", "tail")


def written(record: Record) -> tuple[str, tuple[Place, ...]]:
    """A record's text, as it was written where that is known, else its words with spaces between, and where in it each word stands."""
    if record.string is not None:
        return record.string, record.places
    ends = list(itertools.accumulate(len(word) + 1 for word in record.words))
    return " ".join(record.words), tuple((end - 1 - len(word), end - 1) for end, word in zip(ends, record.words, strict=True))


def tags(text: str) -> dict[str, str]:
    """{each of TAGS: the tag's name}: TAGS themselves, or with the first number behind them all with which none stands in the text, in
    whatever letter case."""
    said = text.casefold()
    for number in itertools.count(1):
        found = {name: name if number == 1 else f"{name}{number}" for name in TAGS}
        if not any(mark in said for tag in found.values() for mark in (f"<{tag}>", f"</{tag}>")):
            return found
    raise AssertionError("a text is finite")


def tagged(record: Record, pair: Relation | None = None) -> tuple[str, Mapping[str, str]]:
    """(a record's text between tags, and of a pair head and tail, too; the names of the tags). Without the tags it is `written`.

    Entities that nest have nested tags (markers.nested_order).
    """
    text, places = written(record)
    names = tags(text)
    found, done = [f"<{names['text']}>\n"], 0
    for marker, boundary in () if pair is None else markers.nested_order(pair.head.span, pair.tail.span):
        closes = marker % 2
        at = places[boundary - 1][1] if closes else places[boundary][0]
        found += [text[done:at], f"<{'/' * closes}{names[TAGS[1 + marker // 2]]}>"]
        done = at
    return "".join([*found, text[done:], f"\n</{names['text']}>"]), names


def standing(record: Record, said: str) -> list[tuple[int, int]]:
    """The spans of words in which a text stands, in their order; white space in either counts as single spaces."""
    text, places = written(record)
    wanted, found = plain(said), []
    for start in range(len(places)):
        for end in range(start + 1, len(places) + 1):
            here = plain(text[places[start][0] : places[end - 1][1]])
            if here == wanted:
                found.append((start, end))
            if not wanted.startswith(here):  # nor does what goes on from here stand there
                break
    return found


def plain(text: str) -> str:
    """A text with single spaces in the place of white space, and none around it."""
    return " ".join(text.split())
