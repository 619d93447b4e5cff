"""MORE and MORTE: posts whose entities stand in relations to objects in the photo, in MORE's published layout.

    ROOT/txt/{train,valid,test}.txt               a fact a line: token, h {name, pos}, t {name, box}, img_id, relation, as JSON or as a
                                                  Python dictionary
    ROOT/ent_{train,valid,test}_dict.pth          {img_id: {name: box}}, for facts whose t has no box
    ROOT/rel2id.json                              {relation: id}
    ROOT/img_org/{train,valid,test}/              photos

Boxes are (cx, cy, w, h), divided by the photo's size; pos is [start, end) in words. A fact is an entity and an object; facts about the
same photo and words are one record here, a sample of MORTE, the task that is given neither. The relation `none` says that there is
no relation. Published are 15,486 / 1,742 / 3,036 facts. He et al., MORE: A Multimodal Object-Entity Relation Extraction Dataset with a
Benchmark Evaluation, ACM MM 2023.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from mmre_jax.data.dataset import Counted, DataSet, root_of, triple_labels
from mmre_jax.data.pictures import inside
from mmre_jax.data.readers.published import (
    check,
    counts,
    field,
    mention,
    missing,
    relation_of,
    relation_table,
    rows,
    tokens,
    torch_table,
)
from mmre_jax.records import SPLITS, Box, Mention, Record, RecordError, Triple, as_number, clip_box

NONE = "none"
_NAMES = {"train": "train", "val": "valid", "test": "test"}
_LAYOUT = "txt/train.txt, txt/valid.txt, txt/test.txt, rel2id.json and img_org/"
_FAR = 2.0  # a normalised box may stick out of the picture, but not by more than the picture


def read(root: str | os.PathLike[str], split: str, *, published: bool = False, merge_val: bool = False) -> Counted:
    """Reads one split, grouped into MORTE's samples.

    Args:
      root: the folder described above.
      split: train, val or test.
      published: keep facts whose relation is `none` as triples with that relation, as the published figures probably do.
      merge_val: the training split also holds the validation split, as MORTE's does.

    Returns:
      A record per photo and words, in the order of their first facts, with id 'more-{split}-{n}', n counted from 0; its mentions are
      the entities of all its facts, without types, its triples the facts that hold, each once. A record of which no fact holds has no
      triple. Boxes are clipped to the picture. Photos need not exist.

    Raises:
      RecordError: a file is missing or damaged, a line is broken, a span is out of range, a relation unknown, or a box not normalised.
      PictureError: a picture's name leads out of `root`.
    """
    return Counted(*_read(root, split, published, merge_val))


def report(root: str | os.PathLike[str], split: str, *, published: bool = False, merge_val: bool = False) -> dict[str, int]:
    """What `read` with the same arguments finds, and what it drops and why.

    Returns:
      records, mentions, triples, records_without_triples; facts: lines read; boxes_clipped: cut off at the picture's edge; dropped
      are none_facts (0 if published), facts_outside, whose box is not in the picture, and facts_repeated.
    """
    return _read(root, split, published, merge_val)[1]


def relations(root: str | os.PathLike[str], *, published: bool = False) -> tuple[str, ...]:
    """The relation names, ordered by id, `none` among them only if `published`.

    Raises:
      RecordError: rel2id.json is missing, or is not {name: 0, name: 1, ...}.
    """
    path = pathlib.Path(root, "rel2id.json")
    if not path.is_file():
        raise missing(root, "rel2id.json", _LAYOUT)
    return tuple(name for name in relation_table(path) if published or name != NONE)


def files(root: str | os.PathLike[str], split: str, *, published: bool = False, merge_val: bool = False) -> list[pathlib.Path]:
    """The annotation files that `read` with the same arguments reads, for checksums. Raises RecordError where one is missing."""
    del published  # keeps more of what is read from the same files
    facts = _facts(root, split, merge_val)
    return [*facts, *(path for path in (_boxes(root, file) for file in facts) if path.is_file())]


def _facts(root: str | os.PathLike[str], split: str, merge_val: bool) -> list[pathlib.Path]:
    check("split", split, SPLITS)
    splits = ("train", "val") if split == "train" and merge_val else (split,)
    found = [pathlib.Path(root, "txt", f"{_NAMES[name]}.txt") for name in splits]
    for path in found:
        if not path.is_file():
            raise missing(root, f"txt/{path.name}", _LAYOUT)
    return found


def _boxes(root: str | os.PathLike[str], facts: pathlib.Path) -> pathlib.Path:
    """The dictionary of boxes that goes with a file of facts."""
    return pathlib.Path(root, f"ent_{facts.stem}_dict.pth")


@dataclasses.dataclass(frozen=True)
class _Fact:
    """A line: an entity, a relation, and the corners of the object's box, not clipped. `sample` is what groups facts."""

    where: str
    sample: tuple[str, tuple[str, ...]]
    mention: Mention
    label: str
    corners: Box


def _read(root: str | os.PathLike[str], split: str, published: bool, merge_val: bool) -> tuple[list[Record], dict[str, int]]:
    known = frozenset(relations(root, published=True))
    samples: dict[tuple[str, tuple[str, ...]], list[_Fact]] = {}
    for file in _facts(root, split, merge_val):
        table = _boxes(root, file)
        boxes = torch_table(table) if table.is_file() else {}
        for where, line in rows(file):
            fact = _fact(root, file.stem, line, boxes, known, where)
            samples.setdefault(fact.sample, []).append(fact)
    dropped = collections.Counter({name: 0 for name in ("boxes_clipped", "none_facts", "facts_outside", "facts_repeated")})
    records = [
        Record(
            id=f"more-{split}-{index}",
            words=words,
            image=image,
            mentions=tuple(dict.fromkeys(fact.mention for fact in facts)),
            triples=_triples(facts, published, dropped),
            origin=facts[0].where,
        )
        for index, ((image, words), facts) in enumerate(samples.items())
    ]
    return records, {**counts(records), "facts": sum(map(len, samples.values())), **dropped}


def _triples(facts: Sequence[_Fact], published: bool, dropped: collections.Counter[str]) -> tuple[Triple, ...]:
    found: dict[Triple, None] = {}
    for fact in facts:
        box, cut = clip_box(fact.corners)
        if fact.label == NONE and not published:
            dropped["none_facts"] += 1
        elif box is None:
            dropped["facts_outside"] += 1
        elif Triple(fact.mention, fact.label, box) in found:
            dropped["facts_repeated"] += 1
        else:
            dropped["boxes_clipped"] += cut
            found[Triple(fact.mention, fact.label, box)] = None
    return tuple(found)


def _fact(root: str | os.PathLike[str], folder: str, line: Any, boxes: dict[Any, Any], known: frozenset[str], where: str) -> _Fact:
    words, label = tokens(line, where), relation_of(line, known, where)
    image = inside(root, f"img_org/{folder}/{field(line, 'img_id', str, where)}", f"{where}, field 'img_id'")
    return _Fact(where, (image, words), mention(line, "h", len(words), where), label, _corners(line, boxes, where))


def _corners(line: Any, boxes: dict[Any, Any], where: str) -> Box:
    """The fact's box as xyxy, not clipped: its own, or that of its object's name in `boxes`."""
    tail = field(line, "t", dict, where)
    place, box = "'t.box'", tail.get("box")
    if box is None:
        objects = boxes.get(line["img_id"])
        name = field(tail, "name", str, f"{where}, field 't'")
        place, box = f"'t.name' = {name!r}, in the dictionary of boxes", objects.get(name) if isinstance(objects, dict) else None
    found = [as_number(x) for x in box[:4]] if isinstance(box, (list, tuple)) else []
    sides = [x for x in found if x is not None]
    if len(sides) != 4 or max(map(abs, sides)) > _FAR:
        raise RecordError(f"{where}, field {place}: expected (cx, cy, w, h), divided by the picture's size, found {box!r:.160}")
    cx, cy, w, h = sides
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


MORE = DataSet(  # what is published of it is a number of facts, not of records
    name="more",
    read=lambda data, split: read(root_of(data), split, published=data.published, merge_val=data.merge_val),
    objects=("none",),
    tasks=lambda data, train: ("triples",),
    labels=lambda data, task, train: triple_labels(data, relations(root_of(data), published=data.published)),
    files=lambda data, split: files(root_of(data), split, published=data.published, merge_val=data.merge_val),
    report=lambda data, split: report(root_of(data), split, published=data.published, merge_val=data.merge_val),
)
