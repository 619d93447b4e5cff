"""What was extracted from a split's records (lines of extracted.jsonl), as predictions of its examples."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmre_jax.data import words as words_lib
from mmre_jax.data.readers import jsonl
from mmre_jax.extraction import KINDS
from mmre_jax.records import Mention, Record, RecordError
from mmre_jax.tasks.task import Found

_LAST = re.compile(r"#\d+$")


def is_record(kind: str, value: Any) -> bool:
    """Whether a line of predictions is in the format of records: it has words or a text, and none of the keys of predictions."""
    if not isinstance(value, dict) or not {"text", "words"} & value.keys() or KINDS[kind] not in value:
        return False
    items = value[KINDS[kind]] if isinstance(value[KINDS[kind]], list) else []
    return "relation" not in value and not any(isinstance(item, dict) and item.keys() & {"span", "relation"} for item in items)


def by_record(kind: str, examples: Sequence[Record]) -> Mapping[str, Sequence[Record]]:
    """{id of a record: the task's examples that it gave}: of relations those of ID#0, ID#1, ... are ID's.

    A record may itself be called ID#0: an example's own id names it, too, where no other record's does.
    """
    names = {example.id: [example] for example in examples}
    found = collections.defaultdict(list)
    for example in examples:
        name = _LAST.sub("", example.id) if kind == "relation" else example.id
        if name not in names:
            found[name].append(example)
    return found | names


def off_the_words(start: int, end: int) -> tuple[int, int]:
    """The span of a mention that stands on none of an example's words, between its characters `start` and `end`: one that no annotated
    mention has, and no other mention."""
    return -1 - start, -1 - end


def is_off(mention: Mention) -> bool:
    """Whether a mention stands on none of the words: it was found by mistake, whatever is annotated."""
    return mention.start < 0


def found_in(kind: str, value: Mapping[str, Any], examples: Sequence[Record], names: Sequence[str], where: str) -> list[Found | None]:
    """What a line says of each of its record's examples; None for a pair of which it says nothing, as what was left out for its score.

    The line may know its text by other words than the examples do, if theirs stand in its text: a mention is then the words that it covers
    a character of, and `off_the_words` where that is none. Of objects those that were found count, not others that the line may name.

    Args:
      names: the labels that there are.

    Raises:
      RecordError: naming `where`, for a line that breaks the format, words that are not the examples', an unknown label, or a pair of which
        more than one thing is said.
    """
    bare = {key: value[key] for key in ("id", "text", "words", KINDS[kind]) if key in value}
    record = jsonl.from_json(bare, ".", where=where, default_id=where, posts=True)
    if kind == "objects":
        regions = tuple(region for region in record.regions if region.source == "detected")
        for region in regions:
            _check(region.label, names, where, "label")
        return [regions for _ in examples]
    if kind == "relation":
        return [_pair(record, example, names, where) for example in examples]
    return [tuple(_moved(each, record, example, names, where) for each in getattr(record, KINDS[kind])) for example in examples]


def _moved(found: Any, record: Record, example: Record, names: Sequence[str], where: str) -> Any:
    """A mention or triple, in the example's words."""
    if isinstance(found, Mention):
        _check(found.type, names, where, "type")
        return _mention(found, record, example, where)
    _check(found.label, names, where, "label")
    return dataclasses.replace(found, mention=_mention(found.mention, record, example, where))


def _pair(record: Record, example: Record, names: Sequence[str], where: str) -> Found | None:
    (pair,) = example.relations
    wanted = pair.head.span, pair.tail.span
    there = [r for r in record.relations if tuple(_mention(m, record, example, where).span for m in (r.head, r.tail)) == wanted]
    if not there:
        return None
    if len(there) > 1:
        named = " and ".join(f"{example.text(span)!r:.80} {list(span)}" for span in wanted)
        raise RecordError(f"{where}: there are several relations of the pair {named} of example {example.id!r:.80}")
    _check(there[0].label, names, where, "label")
    return (dataclasses.replace(pair, label=there[0].label, score=there[0].score, alternatives=there[0].alternatives),)


def _mention(found: Mention, record: Record, example: Record, where: str) -> Mention:
    if record.words == example.words:
        return found
    places = None if record.string is None else words_lib.align(record.string, example.words)
    chars = record.characters(found.span)
    if places is None or chars is None:
        words = " ".join(example.words)
        raise RecordError(f"{where}: its words are not those of example {example.id!r:.80}, which do not stand in its text: {words!r:.160}")
    start, end = words_lib.covering(places, chars) or off_the_words(*chars)
    return dataclasses.replace(found, start=start, end=end)


def _check(label: str | None, names: Sequence[str], where: str, field: str) -> None:
    if label not in names:
        raise RecordError(f"{where}: field {field!r}: {label!r:.80} is not one of {', '.join(names)}")
