"""Strings into words, each with its place in characters; and what stands where.

The words of a string, found from left to right, the first rule that fits:

- an address: http://, https://, ftp:// or www. and what follows, without the punctuation that ends a sentence or a bracket; of e-mail too;
- an emoji with all that belongs to it: skin tone, joined others (a family), a flag's two letters, a keycap (UTS #51);
- a character of Han, Hiragana or Katakana, one word each, as BERT's own splitting has it; Hangul has spaces and is as other letters;
- a possessive: 's, with either apostrophe, at the end of a word: Ada's is "Ada", "'s";
- a run of letters, marks, digits and underscores, joined by single hyphens, apostrophes, middle dots and characters without width inside it
  (Anne-Marie, O'Neil, don't, می‌خواهم), or by a point, comma or colon between digits (3.5, 1,000, 10:30);
- any other character but white space, alone, with the marks that stand on it. So a hashtag or an @-mention is a sign and a name.

White space (`str.isspace`) is in no word, every other character is in one. A word that stands alone is split into itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

import regex

Place = tuple[int, int]

_CJK = r"[[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}]&&[\p{L}\p{Nl}]]"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--{_CJK}]"
_INNER = r"(?:[-'’‐‑·\u00AD\u200C\u200D\u2060]|(?<=\p{N})[.,:](?=\p{N}))"
_POSSESSIVE = rf"['’][sS](?!{_LETTER})"
_URL = rf"(?:{_LETTER}|[-.~:/?\#\[\]@!$&'*+,;=%])"
_BRACKET = rf"\({_URL}*+\)"
_EMOJI = r"\p{Extended_Pictographic}[\p{M}\p{Emoji_Modifier}]*+[\U000E0020-\U000E007F]*+"
# Bounded (RFC 5321, RFC 1035), so that a long text is read in time that grows as its length.
_NAME = rf"[[\p{{L}}\p{{N}}_.%+-]--{_CJK}]"
_LABEL = rf"[[\p{{L}}\p{{N}}-]--{_CJK}]"
_RULES = (
    rf"(?i:(?:https?|ftp)://|www\.)(?:{_URL}|{_BRACKET})*(?:{_LETTER}|[/=&\#%~+@-]|{_BRACKET})",
    rf"(?![.%+-]){_NAME}{{1,64}}+@(?!-){_LABEL}{{1,63}}+(?:\.(?!-){_LABEL}{{1,63}}+)+(?<!-)",
    r"\p{RI}\p{RI}",
    r"[0-9\#*]\uFE0F?\u20E3",
    rf"{_EMOJI}(?:\u200D{_EMOJI})*+",
    rf"{_CJK}\p{{M}}*+",
    _POSSESSIVE,
    rf"{_LETTER}++(?:(?!{_POSSESSIVE}){_INNER}{_LETTER}++)*+",
    r"\S\p{M}*+",
)
_WORD = regex.compile("|".join(_RULES), regex.V1)
# Where a mention may begin or end though no word does: beside what is no letter, in BeyoncéKnowles, and where words have no spaces between
# them, or particles at their ends.
_NO_LETTER = regex.compile(r"[^\p{L}\p{M}\p{N}]")
_UNSPACED = regex.compile(r"[[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Hangul}]&&\p{L}]", regex.V1)
_SPACES = dict.fromkeys(range(0x1C, 0x20), " ")
_BELONGS = regex.compile(r"[\p{M}\u200C\u200D\p{Emoji_Modifier}]")


def split(text: str, cuts: Iterable[int] = ()) -> tuple[Place, ...]:
    """The places, [start, end) in characters, of the words of a string.

    Args:
      cuts: places between characters that are to be borders of words. A cut changes no word but the one that it stands in, of which both
        sides are split anew.
    """
    places = [match.span() for match in _WORD.finditer(_with_spaces(text))]
    for cut in set(cuts):
        places = [part for place in places for part in _cut(text, place, cut)]
    return tuple(places)


def at_spaces(text: str) -> tuple[Place, ...]:
    """The places of what stands between white space, which `str.split` gives."""
    places, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        places.append((at, at + len(word)))
        at += len(word)
    return tuple(places)


def words_at(text: str, places: Iterable[Place]) -> tuple[str, ...]:
    """What stands at these places."""
    return tuple(text[start:end] for start, end in places)


def align(text: str, words: Sequence[str]) -> tuple[Place, ...] | None:
    """Where words stand in a string, in their order: where nothing but white space is between them, else each at its first place behind
    the one before. None where they do not."""
    for only_space in (True, False):
        places, at = [], 0
        for word in words:
            while only_space and at < len(text) and text[at].isspace() and not text.startswith(word, at):
                at += 1
            start = (at if text.startswith(word, at) else -1) if only_space else text.find(word, at)
            if start < 0:
                break
            places.append((start, start + len(word)))
            at = start + len(word)
        else:
            if not only_space or not text[at:].strip():
                return tuple(places)
    return None


def borders(places: Collection[Place]) -> set[int]:
    """Where words begin and end."""
    return {side for place in places for side in place}


def span_of(places: Sequence[Place], chars: Place) -> Place | None:
    """The span of words that begins and ends where `chars` does; None where that is no border of a word."""
    starts = [number for number, (start, _) in enumerate(places) if start == chars[0]]
    ends = [number for number, (_, end) in enumerate(places) if end == chars[1]]
    return (starts[0], ends[0] + 1) if starts and ends and starts[0] <= ends[0] else None


def covering(places: Sequence[Place], chars: Place) -> Place | None:
    """The span of the words that have a character of `chars`; None where none has."""
    touched = [number for number, (start, end) in enumerate(places) if start < chars[1] and chars[0] < end]
    return (touched[0], touched[-1] + 1) if touched else None


def occurrences(text: str, wanted: str) -> list[Place]:
    """Where a string stands in a text as something of its own, [start, end) in characters.

    White space is any white space. As written, where it is there so, else without regard to case. Both ends at borders of words, where
    there is such a place, else beside what is no letter or digit (Obama in "Obama-led"), at a capital behind a small letter (Ada in
    "#AdaLovelace"), or between letters of Thai, Lao, Khmer, Burmese or Hangul. In no other word: "Ann" is not in "Annual".
    """
    if not (parts := wanted.split()):
        return []
    pattern = r"\s+".join(map(regex.escape, parts))
    there = borders(split(text))
    for flags in (0, regex.IGNORECASE | regex.FULLCASE):
        found = [match.span() for match in regex.finditer(pattern, _with_spaces(text), flags | regex.V1, overlapped=True)]
        whole = [place for place in found if there.issuperset(place)]
        if found := whole or [place for place in found if all(side in there or _may_cut(text, side) for side in place)]:
            return found
    return []


def _cut(text: str, place: Place, cut: int) -> list[Place]:
    start, end = place
    if not start < cut < end:
        return [place]
    return [(a + low, a + high) for a, b in itertools.pairwise((start, cut, end)) for low, high in split(text[a:b])]


def _may_cut(text: str, at: int) -> bool:
    before, after = text[at - 1 : at], text[at : at + 1]
    if not before or not after:
        return True
    if _BELONGS.match(after) or before == "\u200d":
        return False
    if _NO_LETTER.match(before) or _NO_LETTER.match(after):
        return True
    return before.islower() and after.isupper() or bool(_UNSPACED.match(before) and _UNSPACED.match(after))


def _with_spaces(text: str) -> str:
    r"""With a space for the four characters that Python alone (`str.isspace`) counts as white space, and Unicode does not."""
    return text.translate(_SPACES) if not text.isprintable() else text
