"""What a model is asked, task by task, and how an answer is to be written."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from mmre_jax.prompts import marking
from mmre_jax.prompts.pictures import DAMAGED, LEFT_OUT, MISSING, NONE, SHOWN
from mmre_jax.records import Record

SCALE = 1000  # of the coordinates of boxes: thousandths of the picture's width and height
FIELDS = {"relation": "relation", "entities": "mentions", "triples": "triples"}  # of an answer in JSON, by task
TOKENS = {"relation": 32, "entities": 512, "triples": 1024}  # of the longest answer
_PICTURE = {
    SHOWN: "Its picture is attached.",
    NONE: "It has no picture.",
    MISSING: "Its picture is not available.",
    DAMAGED: "Its picture is not available.",
    LEFT_OUT: "Its picture is left out here.",
}
_ASKED = {
    "relation": "In the text two entities are marked, the head and the tail. Say which of these relations holds from the head to the tail.",
    "entities": "Find all mentions of named entities in the text, and say of which of these types each is.",
    "triples": "Find all triples of an entity that the text mentions, an object that the picture shows, and the relation from the entity "
    "to the object, one of these.",
}
_COPIED = (
    "TEXT being copied from the post letter by letter, whole words, and N saying which occurrence of TEXT in the post is meant, "
    "counted from 1"
)


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of every record.

    task: relation, entities or triples.
    labels: what an answer may name: relations with the empty one, types of entities, or relations of triples.
    none: of relations the empty one; '' else.
    pictures: whether posts are shown with their pictures.
    meanings: of all labels; None where their names alone are told.
    structured: whether the server is told the schema of an answer; a relation is then answered in JSON, too.
    """

    task: str
    labels: tuple[str, ...]
    none: str = ""
    pictures: bool = True
    meanings: Mapping[str, str] | None = None
    structured: bool = False

    def system(self) -> str:
        """The message that all records have in common: what is asked, the labels, how an answer is written."""
        told = self.meanings
        labels = [f"- {label}" if told is None else f"- {label}: {told[label]}" for label in self.labels]
        given = "You are given a post: its text and, where there is one, its picture." if self.pictures else "You are given a post."
        both = " Go by text and picture together." if self.pictures and self.task != "triples" else ""
        none = [f"{self.none} says that none of the other relations holds."] if self.none else []
        return "\n".join([f"{given} {_ASKED[self.task]}{both}", "", *labels, "", *none, self._form()])

    def _form(self) -> str:
        field = FIELDS[self.task]
        if self.task == "relation":
            if not self.structured:
                return "Answer with the name of one relation, exactly as it stands above, and with nothing else."
            return f'Answer with JSON and nothing else: {{"{field}": NAME}}, NAME being that of one relation, exactly as it stands above.'
        if self.task == "entities":
            item, where = '{"text": TEXT, "occurrence": N, "type": TYPE}', "TYPE being one of the types above"
        else:
            item = '{"text": TEXT, "occurrence": N, "relation": NAME, "box": [X_MIN, Y_MIN, X_MAX, Y_MAX]}'
            where = f"NAME being one of the relations above, and the box that of the object, in whole numbers from 0 to {SCALE}: "
            where += "thousandths of the picture's width and height from its left upper corner"
            where += '. Where no picture is attached, leave out "box"'
        empty = f'Where there is nothing to be found: {{"{field}": []}}.'
        return f'Answer with JSON and nothing else: {{"{field}": [{item}, ...]}}, {_COPIED}, {where}. {empty}'

    def ask(self, record: Record, picture: str) -> str:
        """The text of the message about one record.

        Args:
          picture: what became of its picture, one of `pictures.STATES`.
        """
        text, names = marking.tagged(record, record.relations[0] if self.task == "relation" else None)
        head, tail = (f"<{names[name]}> and </{names[name]}>" for name in ("head", "tail"))
        pair = [f"The head stands between {head}, the tail between {tail}."] if self.task == "relation" else []
        return "\n".join([text, *pair, *([_PICTURE[picture]] if self.pictures else [])])

    def say(self, record: Record, picture: str) -> str:
        """The annotation of a record as an answer. Triples have boxes where the picture is shown."""
        if self.task == "relation":
            label = str(record.relations[0].label)
            return json.dumps({"relation": label}, ensure_ascii=False) if self.structured else label
        found: list[dict[str, Any]]
        if self.task == "entities":
            mentions = sorted(record.mentions, key=lambda mention: mention.span)
            found = [{**_words(record, mention.span), "type": mention.type} for mention in mentions]
        else:
            triples = sorted(record.triples, key=lambda triple: triple.mention.span)
            boxes = [_box(triple.box) if picture == SHOWN else {} for triple in triples]
            told = [{**_words(record, each.mention.span), "relation": each.label, **box} for each, box in zip(triples, boxes, strict=True)]
            found = [each for i, each in enumerate(told) if each not in told[:i]]  # without boxes some are the same
        return json.dumps({FIELDS[self.task]: found}, ensure_ascii=False)

    def response_format(self, picture: str) -> dict[str, Any]:
        """The schema of an answer, as chat completions take it under `response_format`: all keys required, no others."""
        names = {"type": "string", "enum": list(self.labels)}
        field = FIELDS[self.task]
        if self.task == "relation":
            schema = _object({field: names})
        else:
            item = {"text": {"type": "string"}, "occurrence": {"type": "integer"}}
            item["type" if self.task == "entities" else "relation"] = names
            if self.task == "triples" and picture == SHOWN:
                item["box"] = {"type": "array", "items": {"type": "number"}}
            schema = _object({field: {"type": "array", "items": _object(item)}})
        return {"type": "json_schema", "json_schema": {"name": self.task, "strict": True, "schema": schema}}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


def _words(record: Record, span: tuple[int, int]) -> dict[str, Any]:
    """A span of words as an answer names it."""
    said = marking.plain(record.text(span))
    return {"text": said, "occurrence": marking.standing(record, said).index(span) + 1}


def _box(box: tuple[float, float, float, float] | None) -> dict[str, Any]:
    """A box as an answer names it, never smaller than it is."""
    if box is None:
        return {}
    return {"box": [math.floor(box[0] * SCALE), math.floor(box[1] * SCALE), math.ceil(box[2] * SCALE), math.ceil(box[3] * SCALE)]}
