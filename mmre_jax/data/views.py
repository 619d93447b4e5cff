"""A data set of triples as each part of a pipeline learns from it: a tagger of mentions, a detector of regions, a classifier of pairs.

The parts are trained apart, and nothing that one view shows is the annotation of another: the detector sees no word of the sentence, the
classifier is told span and box, but not which of them belong together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mmre_jax.data.dataset import RecordSource
from mmre_jax.records import Box, Mention, Record, Region, Relation

TASK_OF = {"mentions": "entities", "regions": "objects", "pairs": "relation"}  # of each view
ENTITY = "ENTITY"  # the type of every mention
OBJECT = "object"  # the class of every region


def view(name: str, records: RecordSource, none: str) -> list[Record]:
    """The records of one view.

    Args:
      name: mentions, regions or pairs.
      none: the relation of a pair that is no triple.

    Raises:
      ValueError: for an unknown view.
    """
    check(name)
    found = [records[index] for index in range(len(records))]
    if name == "mentions":
        return mentions(found)
    return regions(found) if name == "regions" else pairs(found, none)


def check(name: str) -> None:
    """Raises ValueError for an unknown view."""
    if name not in TASK_OF:
        raise ValueError(f"data.view is '' or one of {', '.join(TASK_OF)}, found {name!r}")


def mentions(records: Sequence[Record]) -> list[Record]:
    """Task entities: every record with its `spans_of` as mentions, all of one type, for a triple's entity has none."""
    return [
        dataclasses.replace(record, mentions=tuple(Mention(*span, type=ENTITY) for span in spans_of(record)), relations=(), triples=())
        for record in records
    ]


def regions(records: Sequence[Record]) -> list[Record]:
    """Task objects: a `photo` for each picture, with the boxes of all triples of all records that show it as its annotated objects.

    Photos of which no triple is known are there too: nothing is to be found in them. Records without a photo are not.
    """
    shown: dict[str, Record] = {}
    boxes: dict[str, dict[Box, None]] = {}  # as ordered sets
    for record in records:
        if record.image is not None:
            shown.setdefault(record.image, photo(record))
            boxes.setdefault(record.image, {}).update(dict.fromkeys(boxes_of(record)))
    return [
        dataclasses.replace(record, regions=tuple(Region(box, source="gold", label=OBJECT) for box in boxes[image]))
        for image, record in shown.items()
    ]


def pairs(records: Sequence[Record], none: str) -> list[Record]:
    """Task relation: for each record and each of its boxes one `beside` that box, with the relations of all mentions to it.

    A pair of a mention and a box that is no triple has the relation `none`; one that is several triples has several relations.
    """
    return [
        dataclasses.replace(beside(record, box, _relations(record, box, none)), id=f"{record.id}@{place}")
        for record in records
        for place, box in enumerate(boxes_of(record))
    ]


def photo(record: Record) -> Record:
    """The picture of a record, of whose sentence nothing is known: what a detector of regions looks at."""
    return Record(id=record.id, words=(), image=record.image, origin=record.origin)


def beside(record: Record, box: Box, relations: tuple[Relation, ...]) -> Record:
    """A record whose only object crop is one box, and whose relations are those of mentions to it: what a classifier of pairs looks at."""
    return dataclasses.replace(record, mentions=(), relations=relations, triples=(), regions=(Region(box=box, source="detected"),))


def pair(mention: Mention, label: str | None = None) -> Relation:
    """The relation of a mention to the box it stands beside. There is no other mention: the markers of both stand around this one."""
    return Relation(mention, mention, label)


def spans_of(record: Record) -> list[tuple[int, int]]:
    """The different spans of a record's mentions and triples, in their order. Mentions without a triple are among them."""
    return list(dict.fromkeys([mention.span for mention in record.mentions] + [triple.mention.span for triple in record.triples]))


def boxes_of(record: Record) -> list[Box]:
    """The different boxes of a record's triples, in their order."""
    return list(dict.fromkeys(triple.box for triple in record.triples if triple.box is not None))


def _relations(record: Record, box: Box, none: str) -> tuple[Relation, ...]:
    found = []
    for span in spans_of(record):
        labels = dict.fromkeys(triple.label for triple in record.triples if triple.mention.span == span and triple.box == box)
        found += [pair(Mention(*span), label) for label in labels or (none,)]
    return tuple(found)
