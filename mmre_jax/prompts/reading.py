"""What an answer says of a record, by small rules that are written here; whatever they do not fit is unreadable.

relation: the text is the name of a relation, white space around it and the case of letters aside (where two names differ in case alone,
it is exact); with a schema, {"relation": name}. entities: {"mentions": [{"text", "occurrence", "type"}]}. triples: {"triples": [{"text",
"occurrence", "relation", "box"}]}. JSON may stand in one fence of backticks; nothing else may stand beside it, and other keys are not
looked at. A text is whole words of the post, letter by letter, and its first occurrence where none is said. Of a mention or triple that
cannot be read the answer's others are kept.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmre_jax.prompts import marking
from mmre_jax.prompts.questions import FIELDS, SCALE, Question
from mmre_jax.records import Box, Mention, Record, RecordError, Triple, as_number, check_box
from mmre_jax.tasks.task import Found

_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL | re.IGNORECASE)


class Unreadable(ValueError):
    """An answer, or a part of one, that says nothing that can be scored. The message is one of few reasons, to be counted by."""


def nothing(question: Question, record: Record) -> Found:
    """What is scored where there is no answer: the empty relation, or nothing found."""
    return _relation(question.none, record) if question.task == "relation" else ()


def read(question: Question, said: str, record: Record, shown: bool) -> tuple[Found, Counter[str]]:
    """(what an answer says of a record; of its mentions or triples how many cannot be read, by reason).

    Args:
      said: the answer.
      shown: whether the record's picture was; else a triple's box is not looked at.

    Raises:
      Unreadable: for an answer that is none.
    """
    if question.task == "relation":
        return _relation(label_of(_field(said, "relation") if question.structured else said, question.labels), record), Counter()
    items = _field(said, FIELDS[question.task])
    if not isinstance(items, list):
        raise Unreadable("no list of what was found")
    found: dict[Mention | Triple, None] = {}  # said twice is said once
    lost: Counter[str] = Counter()
    for item in items:
        try:
            found[_item(question, item, record, shown)] = None
        except Unreadable as error:
            lost[str(error)] += 1
    return tuple(found), lost


def label_of(said: Any, labels: Sequence[str]) -> str:
    """The label that a text is; see above. Raises Unreadable."""
    if not isinstance(said, str):
        raise Unreadable("no label")
    name = said.strip()
    same = [label for label in labels if label.casefold() == name.casefold()]
    if name in labels:
        return name
    if len(same) != 1:
        raise Unreadable("no label" if not same else "a label in a case that is not clear")
    return same[0]


def _relation(label: str, record: Record) -> Found:
    return (dataclasses.replace(record.relations[0], label=label, score=None, alternatives=()),)


def _field(said: str, name: str) -> Any:
    text = said.strip()
    fenced = _FENCE.fullmatch(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("no JSON") from error
    if not isinstance(value, dict) or name not in value:
        raise Unreadable(f"no JSON object with {name!r}")
    return value[name]


def _item(question: Question, item: Any, record: Record, shown: bool) -> Mention | Triple:
    field = "type" if question.task == "entities" else "relation"
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise Unreadable("an item without a text")
    label = label_of(item.get(field), question.labels)
    span = _span(item["text"], item.get("occurrence", 1), record)
    if question.task == "entities":
        return Mention(*span, label)
    return Triple(Mention(*span), label, _box(item.get("box")) if shown else None)


def _span(said: str, occurrence: Any, record: Record) -> tuple[int, int]:
    if type(occurrence) is not int or occurrence < 1:
        raise Unreadable("an occurrence that is no number from 1")
    there = marking.standing(record, said) if marking.plain(said) else []
    if occurrence > len(there):
        raise Unreadable("a text that does not stand in the post" if not there else "an occurrence that there is not")
    return there[occurrence - 1]


def _box(said: Any) -> Box:
    sides = [as_number(side) for side in said] if isinstance(said, list) else []
    try:
        return check_box([None if side is None else side / SCALE for side in sides], "box")
    except RecordError as error:
        raise Unreadable("no box inside the picture") from error
