"""The text of a line of JSON, its words with their places, and spans in it, given in words, in characters, or as what stands there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from mmre_jax.data import words as words_lib
from mmre_jax.data.readers import fields
from mmre_jax.data.words import Place
from mmre_jax.records import Mention, RecordError, check_span, digits, plain

MOST = 20  # places that a message lists
SPAN_KEYS = ("start", "end", "type", "score", "chars", "text")


@dataclasses.dataclass(frozen=True)
class Text:
    """The words of a line. string: the text as it was written, None where the words are all that is known. places: of the words in it."""

    words: tuple[str, ...]
    string: str | None = None
    places: tuple[Place, ...] = ()

    def mention(self, item: Any, where: str) -> Mention:
        """A mention of a line: [start, end) in words, what stands in the text, a string, or a dictionary of SPAN_KEYS, whose `chars` may
        stand instead of start and end.

        Raises:
          RecordError: it is none of these, lies outside of the text, stands there more than once, or says two different things.
        """
        if isinstance(item, str):
            return Mention(*(find_words(self.words, item, where) if self.string is None else self._span(self._found(item, where), where)))
        if isinstance(item, list):
            if len(item) != 2:
                raise RecordError(f"{where}: a span is [start, end], found {item!r:.80}")
            return Mention(*check_span(*item, len(self.words), where))
        item = fields.keys(item, SPAN_KEYS, where)
        chars = self._chars(item["chars"], where) if "chars" in item else None
        if "start" in item or "end" in item or chars is None:
            span = check_span(item.get("start"), item.get("end"), len(self.words), where)
            there = (self.places[span[0]][0], self.places[span[1] - 1][1]) if self.places else None
            if chars is not None and chars != there:
                raise RecordError(
                    f"{where}: chars {list(chars)} and words [{span[0]}, {span[1]}), whose characters are {list(there or ())}"
                )
        else:
            span = self._span(chars, where)
        self._check(item, span, where)
        return Mention(*span, fields.optional(item, "type", where), fields.score(item, where))

    def _chars(self, value: Any, where: str) -> Place:
        if self.string is None:
            raise RecordError(f"{where}: chars are places in 'text', which is not there beside 'words'")
        if not isinstance(value, list) or len(value) != 2:
            raise RecordError(f"{where}: chars are [start, end], found {value!r:.80}")
        return check_chars(*value, self.string, where)

    def _found(self, wanted: str, where: str) -> Place:
        return find_string(self.string or "", wanted, where)

    def _span(self, chars: Place, where: str) -> Place:
        span = words_lib.span_of(self.places, chars)
        if span is None:
            start, end = words_lib.covering(self.places, chars) or (0, 0)
            named = (self.string or "")[slice(*chars)]
            there = f"a word of {list(self.words[start:end])!r:.160}: words that are given, or that other spans count, are not cut"
            raise RecordError(f"{where}: chars {list(chars)}, {named!r:.80}, begin or end inside of {there}")
        return span

    def _check(self, item: dict[str, Any], span: Place, where: str) -> None:
        """Raises RecordError for a `text` that is not what stands at the span."""
        if (said := fields.optional(item, "text", where)) is None:
            return
        there = [" ".join(self.words[slice(*span)])]
        if self.string is not None:
            there.append(self.string[self.places[span[0]][0] : self.places[span[1] - 1][1]])
        if said.split() not in [each.split() for each in there]:
            raise RecordError(f"{where}, field 'text': {said!r:.80} is not what stands there, which is {there[-1]!r:.80}")


def text_of(value: dict[str, Any], where: str, *, tokenize: bool) -> Text:
    """The text of a line: its words, else its text split: at white space where a span is given in words, by the tokenizer (words.py) where
    all are given in characters or as what stands there, and where there is none, by the tokenizer if `tokenize`, else at white space.

    Raises:
      RecordError: it has no word, or words that do not stand in the text in their order.
    """
    string = fields.string(value, "text", where) if "text" in value else None
    if "words" in value:
        words = tuple(fields.items(value, "words", where, fields.word))
        if string is None:
            return Text(words)
        if (places := words_lib.align(string, words)) is None:
            raise RecordError(f"{where}: the 'words' do not stand in the 'text' in their order: {string!r:.80}")
        return Text(words, string, places)
    if string is None:
        return Text(())
    spans = list(_spans(value))
    if any(_in_words(span) for span in spans) or not (spans or tokenize):
        places = words_lib.at_spaces(string)
    else:
        places = words_lib.split(string, [side for span in spans for side in _sides(span, string)])
    return Text(words_lib.words_at(string, places), string, places)


def find_string(text: str, wanted: str, where: str, chars: str = '"chars": [{}, {}]') -> Place:
    """Where a string stands in a text, [start, end) in characters, as `words.occurrences` finds it.

    Args:
      chars: how whoever asks writes a span of characters, for messages.

    Raises:
      RecordError: naming `where`, if it is not there, or there more than once: its places are listed.
    """
    places = words_lib.occurrences(text, wanted)
    if not places:
        words, part = ", ".join(map(repr, words_lib.words_at(text, words_lib.split(text)))), chars.format("start", "end")
        raise RecordError(f"{where}: {wanted!r:.80} is not in the text, whose words are {words:.1000}; a part of a word is given as {part}")
    if len(places) > 1:
        shown = ", ".join(f"{chars.format(*place)} in {text[max(place[0] - 12, 0) : place[1] + 12]!r:.120}" for place in places[:MOST])
        raise RecordError(f"{where}: {wanted!r:.80} is in the text {len(places)} times: give its characters, one of {shown}")
    return places[0]


def find_words(words: Sequence[str], wanted: str, where: str) -> Place:
    """Where what a string says stands in words, [start, end): as written, where it is there so, else without regard to case.

    Raises:
      RecordError: as `find_string`.
    """
    places: list[Place] = []
    for fold in (str, str.casefold):
        target, there = list(map(fold, wanted.split())), list(map(fold, words))
        places = places or [(i, i + len(target)) for i in range(len(words) - len(target) + 1) if there[i : i + len(target)] == target]
    if not wanted.split() or not places:
        raise RecordError(f"{where}: {wanted!r:.80} is not in the text, whose words are {', '.join(map(repr, words)):.1000}")
    if len(places) > 1:
        shown = ", ".join(f"{span} in '{' '.join(words[max(span[0] - 2, 0) : span[1] + 2]):.120}'" for span in places[:MOST])
        raise RecordError(f"{where}: {wanted!r:.80} is in the text {len(places)} times: give a word span, one of {shown}")
    return places[0]


def check_chars(start: object, end: object, text: str, where: str) -> Place:
    """Returns (start, end) as a valid span of characters of `text`, end-exclusive, which begins and ends with what is no white space.

    Raises:
      RecordError: naming `where`, what was found and what was expected.
    """
    low, high = plain(start), plain(end)
    if any(type(side) is not int for side in (low, high)):
        raise RecordError(f"{where}: chars are two integers [start, end), found [{low!r:.40}, {high!r:.40}]")
    if not 0 <= low < high <= len(text):
        raise RecordError(f"{where}: chars [{digits(low)}, {digits(high)}) do not lie inside the text's {len(text)} characters")
    if text[low].isspace() or text[high - 1].isspace():
        raise RecordError(f"{where}: chars [{low}, {high}), {text[low:high]!r:.80}, begin or end with white space")
    return low, high


def _in_words(span: list[Any] | dict[str, Any] | str) -> bool:
    return isinstance(span, list) or (isinstance(span, dict) and span.get("start") is not None)


def _sides(span: list[Any] | dict[str, Any] | str, text: str) -> list[int]:
    """Where in a text's characters a span that is not in words begins and ends, as far as it says so."""
    if isinstance(span, str):
        return [side for place in words_lib.occurrences(text, span) for side in place]
    pair = span.get("chars") if isinstance(span, dict) else None
    return [side for side in pair if type(side) is int] if isinstance(pair, list) else []


def _spans(value: dict[str, Any]) -> Iterator[list[Any] | dict[str, Any] | str]:
    """What stands in a line in the places of spans, as far as it can be one."""
    for key, names in (("mentions", None), ("relations", ("head", "tail")), ("triples", ("mention",))):
        for item in value[key] if isinstance(value.get(key), list) else ():
            found = [item] if names is None else [item.get(name) for name in names] if isinstance(item, dict) else []
            yield from (span for span in found if isinstance(span, list | dict | str))
