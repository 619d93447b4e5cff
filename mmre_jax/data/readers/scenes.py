"""Reader of `scenes`, the embedded data set: pictures and sentences made on the spot, whose labels need both (see scenes/compose.py).

Names of people are made up, and no name of one split occurs in another; nor does a picture.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from mmre_jax.data.dataset import DataSet, FilePictures, Labels, entity_labels, object_labels, triple_labels
from mmre_jax.data.readers import jsonl
from mmre_jax.data.scenes import compose as scenery
from mmre_jax.data.scenes.draw import render
from mmre_jax.records import SPLITS, Mention, Record, RecordError, Region, Relation, Triple

PREFIX = "scenes:"


def relations(task: str = "relations") -> tuple[str, ...]:
    """The relation names of 'relations' or 'grounded', 'None' first."""
    if task == "grounded":
        return scenery.NONE, scenery.LEFT, scenery.RIGHT
    return scenery.NONE, *scenery.RELATIONS.values()


def entity_types() -> tuple[str, ...]:
    """The entity types of 'entities'."""
    return tuple(scenery.ENTITY_TYPE_OF.values())


def triple_relations() -> tuple[str, ...]:
    """The relation names of 'triples': the kinds of things."""
    return scenery.KINDS


def read(task: str, split: str, count: int, seed: int = 0, side: int = 64) -> list[Record]:
    """The first `count` records of a split.

    Args:
      task: 'relations', 'entities', 'triples', 'grounded' or 'objects'.
      split: 'train', 'val' or 'test'.
      count: how many; the generator never runs out, and a larger count begins with the same records.
      seed: another seed is another data set.
      side: of the pictures, in pixels. What is in them does not depend on it.

    Returns:
      Records whose `image` is a key for `draw`. Boxes of everything in the picture, without labels and in no telling order, are the
      regions of `relations`, `entities` and `grounded`; in `triples`, where boxes are what is asked for, there are none.
      In `objects` they are gold regions, labelled with the kind of the thing.

    Raises:
      ValueError: for a task or split that does not exist, or a number out of range.
    """
    if task not in scenery.TASKS:
        raise ValueError(f"scenes has no task {task!r}; there are {', '.join(scenery.TASKS)}")
    if split not in SPLITS:
        raise ValueError(f"scenes has no split {split!r}; there are {', '.join(SPLITS)}")
    if count < 0 or seed < 0 or side < 16:
        raise ValueError(f"scenes: count and seed are at least 0 and side at least 16, found count={count}, seed={seed}, side={side}")
    return [_record(task, seed, split, index, side) for index in range(count)]


def draw(key: str) -> np.ndarray:
    """The picture of a record, from its key alone.

    Args:
      key: 'scenes:{task}:{seed}:{split}:{index}:{side}'.

    Returns:
      uint8 [side, side, 3], the same bytes each time.

    Raises:
      RecordError: if the key is not of that form.
    """
    task, seed, split, index, side = parse_key(key)
    things = scenery.compose(task, seed, split, index).things
    return render(things, scenery.stream(task, seed, split, index, 1), side)


@functools.lru_cache(maxsize=32768)  # drawing takes longer than a small model's step; 12 KiB each at 64 pixels
def picture(key: str) -> Image.Image:
    """`draw` as a picture, remembered."""
    return Image.fromarray(draw(key))


def parse_key(key: str) -> tuple[str, int, str, int, int]:
    """(task, seed, split, index, side) of a picture's key.

    Raises:
      RecordError: if the key is not of the form that `draw` gives.
    """
    parts = key.split(":")
    if len(parts) == 6 and parts[0] + ":" == PREFIX and parts[1] in scenery.TASKS and parts[3] in SPLITS:
        numbers = [int(part) for part in (parts[2], parts[4], parts[5]) if part.isascii() and part.isdigit()]
        if len(numbers) == 3 and 16 <= numbers[2] <= 4096:
            return parts[1], numbers[0], parts[3], numbers[1], numbers[2]
    raise RecordError(f"{key!r} is not the key of a picture: 'scenes:TASK:SEED:SPLIT:INDEX:SIDE' (side 16 to 4096)")


def export(folder: str | os.PathLike[str], task: str, split: str, count: int, seed: int = 0, side: int = 64) -> list[Record]:
    """Writes the pictures of `read` as PNG files into `folder` (made if need be), and the records to `folder`/{split}.jsonl.

    Returns:
      The records, with the files' paths as images.
    """
    root = pathlib.Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    records = []
    for index, record in enumerate(read(task, split, count, seed, side)):
        path = root / f"{task}_{seed}_{split}_{index:05d}.png"
        Image.fromarray(draw(record.image)).save(path)
        records.append(dataclasses.replace(record, image=str(path)))
    jsonl.write(records, root / f"{split}.jsonl")
    return records


def _record(task: str, seed: int, split: str, index: int, side: int) -> Record:
    scene = scenery.compose(task, seed, split, index)
    name = f"{PREFIX}{task}:{seed}:{split}:{index}"
    made: dict[str, Any] = {"id": name, "words": scene.words, "image": f"{name}:{side}", "origin": name}
    if task == "triples":
        mentions = tuple(Mention(*span) for span in scene.spans)
        boxes = [scene.things[place].box for place in scene.places]
        triples = tuple(Triple(*triple) for triple in zip(mentions, scene.labels, boxes, strict=True))
        return Record(**made, mentions=mentions, triples=triples)
    if task == "objects":
        return Record(**made, regions=tuple(Region(thing.box, source="gold", label=thing.kind) for thing in scene.things))
    regions = tuple(Region(thing.box) for thing in scene.things)
    if task == "entities":
        mentions = tuple(Mention(*span, type=label) for span, label in zip(scene.spans, scene.labels, strict=True))
        return Record(**made, regions=regions, mentions=mentions)
    head, tail = (Mention(*span, type="PER") for span in scene.spans)
    return Record(**made, regions=regions, mentions=(head, tail), relations=(Relation(head, tail, scene.labels[0]),))


def _read(data: ConfigDict, split: str) -> list[Record]:
    if data.root:
        raise RecordError(f"data.root={data.root}: scenes is made, not read: name what is there with data.name, or leave data.root out")
    if not (count := data.counts[SPLITS.index(split)]):
        raise RecordError(f"data.counts={tuple(data.counts)}: split {split!r} has no records")
    return read(data.scene, split, count)


def _tasks(data: ConfigDict, train: Sequence[Record]) -> tuple[str, ...]:
    of = {"relations": ("relation",), "grounded": ("relation",), "entities": ("entities",), "triples": ("triples",)}
    of["objects"] = ("objects",)
    return of.get(data.scene, ())


def _labels(data: ConfigDict, task: str, train: Sequence[Record]) -> Labels:
    if task == "relation":
        return relations(data.scene), scenery.NONE
    if task == "objects":
        return object_labels(scenery.KINDS)
    return triple_labels(data, triple_relations()) if task == "triples" else entity_labels(entity_types())


SCENES = DataSet(
    name="scenes",
    read=_read,
    objects=("none", "detected"),
    tasks=_tasks,
    labels=_labels,
    pictures=lambda data, plan: FilePictures(plan, picture),
    chosen_by="scene",
)
