"""Sentences with BIO tags, in the text format that Twitter-2015, Twitter-2017 and GMNER share.

    IMGID:1015799       the picture of the post
    George<TAB>B-PER    a line per word
    Zimmerman<TAB>I-PER

A blank line ends a sentence; the last one of a file may lack it.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from mmre_jax.data.readers.published import text_lines
from mmre_jax.records import Mention, RecordError

OUTSIDE = "O"
_IMAGE = "IMGID:"


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A post. `image` is the id of its picture; there is a tag per word; `where` names file and line of its first line."""

    image: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    where: str


def read(path: pathlib.Path, types: Mapping[str, str]) -> list[Sentence]:
    """Reads a file.

    Args:
      path: the file.
      types: {entity type in the file: its name in the tags returned}.

    Raises:
      RecordError: a line is none of the above, a type is unknown, or a sentence has no picture or no words; names file and line.
    """
    sentences: list[Sentence] = []
    image, where = "", ""
    rows: list[tuple[str, str]] = []
    for number, line in enumerate([*text_lines(path), ""], 1):
        at = f"{path}:{number}"
        if line.strip() and not line.startswith(_IMAGE):
            if not image:
                raise RecordError(f"{at}: expected {_IMAGE}ID before the words of a sentence, found {line!r:.80}")
            rows.append(_row(line, types, at))
            continue
        if image and (rows or line.startswith(_IMAGE)):
            sentences.append(_sentence(image, rows, where))
            image, rows = "", []
        if line.startswith(_IMAGE):
            image, where = line.removeprefix(_IMAGE).strip(), at
            if not image:
                raise RecordError(f"{at}: {_IMAGE} without an id")
    if image:
        raise RecordError(f"{where}: a sentence without words")
    return sentences


def mentions(tags: Sequence[str]) -> tuple[Mention, ...]:
    """The entities of a tagged sentence.

    An I-X that follows neither B-X nor I-X begins an entity, as seqeval reads it by default: Twitter-2015 has 374 such tags.
    """
    found = []
    start = -1
    for i, tag in enumerate((*tags, OUTSIDE)):
        if start >= 0 and (tag[0] != "I" or tag[2:] != tags[start][2:]):
            found.append(Mention(start, i, tags[start][2:]))
            start = -1
        if tag != OUTSIDE and start < 0:
            start = i
    return tuple(found)


def dangling(tags: Sequence[str]) -> tuple[int, ...]:
    """The words whose I-X begins an entity."""
    return tuple(i for i, (before, tag) in enumerate(zip((OUTSIDE, *tags), tags, strict=False)) if tag[0] == "I" and before[2:] != tag[2:])


def tag_names(types: Iterable[str]) -> tuple[str, ...]:
    """The tags of entity types: O, then B-X and I-X of each, in the types' order."""
    return (OUTSIDE, *(f"{place}-{kind}" for kind in types for place in "BI"))


def _row(line: str, types: Mapping[str, str], where: str) -> tuple[str, str]:
    """(word, tag) of a line."""
    word, _, tag = line.partition("\t")
    place, _, kind = tag.strip().partition("-")
    if not word or (place, kind) != (OUTSIDE, "") and (place not in ("B", "I") or kind not in types):
        raise RecordError(f"{where}: expected word<TAB>tag, the tag O, B-X or I-X, and X one of {', '.join(types)}; found {line!r:.80}")
    return word, f"{place}-{types[kind]}" if kind else OUTSIDE


def _sentence(image: str, rows: Sequence[tuple[str, str]], where: str) -> Sentence:
    if not rows:
        raise RecordError(f"{where}: a sentence without words")
    return Sentence(image, tuple(word for word, _ in rows), tuple(tag for _, tag in rows), where)
