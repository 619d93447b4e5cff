"""The data set that a configuration's section `data` names: its records, its labels, its pictures."""

from __future__ import annotations

import functools
import pathlib
import types
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict
from PIL import Image

from mmre_jax.data import decode, views
from mmre_jax.data.pictures import PicturePlan
from mmre_jax.data.prepared import Contents
from mmre_jax.data.readers import bio, gmner, jsonl, mnre, more, scenes, twitter
from mmre_jax.data.source import FilePictures, PictureSource, PreparedPictures, PreparedSource, ReleasedPictures
from mmre_jax.records import SPLITS, Record, RecordError

TASKS = ("relation", "entities", "triples")
_YEARS = {"twitter2015": 2015, "twitter2017": 2017}
_VERSIONS = {"mnre_v1": 1, "mnre": 2}
_TASKS = {
    "mnre": ("relation",),
    "mnre_v1": ("relation",),
    "twitter2015": ("entities",),
    "twitter2017": ("entities",),
    "gmner": ("entities", "triples"),
    "more": ("triples",),
}
_TASKS_OF_SCENES = {"relations": ("relation",), "grounded": ("relation",), "entities": ("entities",), "triples": ("triples",)}

_ANY = ("detected", "none", "grounded")
OBJECTS = {  # the kinds of object crops that there can be, the usual ones first
    "scenes": ("none", "detected"),
    "mnre": _ANY,
    "mnre_v1": _ANY,
    "twitter2015": ("grounded", "none"),
    "twitter2017": ("grounded", "none"),
    "gmner": ("none",),
    "more": ("none",),
    "jsonl": _ANY,
    "prepared": _ANY,
}

Labels = tuple[tuple[str, ...], str]


def open_records(data: ConfigDict, split: str) -> Sequence[Record]:
    """The records of a split, read and checked; under a view (data/views.py), what it makes of them.

    Args:
      data: name, root, objects, view; for scenes also scene and counts, for more also published and merge_val.

    Raises:
      ValueError: for an unknown data set, split or view, or one that the data set cannot be seen through.
      RecordError: for a damaged or missing file, or object crops that the data set does not have.
    """
    if split not in SPLITS:
        raise ValueError(f"a split is one of {', '.join(SPLITS)}, found {split!r}")
    if data.name not in OBJECTS:
        raise ValueError(f"data.name is one of {', '.join(OBJECTS)}, found {data.name!r}")
    name = view_of(data)
    if not name:
        if data.objects not in OBJECTS[data.name]:
            raise RecordError(f"data.objects={data.objects!r}: {data.name} has {' or '.join(OBJECTS[data.name])}")
        return _read(data, split)
    views.check(name)
    if data.name == "prepared" and name == "pairs":
        raise ValueError("data.view='pairs' cuts crops that a prepared data set does not hold: give the data set it was prepared from")
    records = _read(data, split)
    if "triples" not in (there := _tasks(data, records)):
        raise ValueError(f"data.view={name!r} shows triples, for which {_name(data)} is not annotated; {_has(there)}")
    return views.view(name, records, _no_triple(data, _triple_relations(data, records)))


def view_of(data: ConfigDict) -> str:
    """The view that a data set is seen through, '' for none."""
    return str(data.get("view", ""))  # a checkpoint written before there were views has none in its configuration


def _read(data: ConfigDict, split: str) -> Sequence[Record]:
    if data.name == "scenes":
        return scenes.read(data.scene, split, data.counts[SPLITS.index(split)])
    root = _root(data)
    if data.name == "prepared":
        return PreparedSource(root, split)
    if data.name == "jsonl":
        return jsonl.read(root / f"{split}.jsonl")
    reader, options = _reader(data)
    return reader.read(root, split, **options)


def read_report(data: ConfigDict, split: str) -> dict[str, int]:
    """What reading a split finds, and what it leaves out and why; nothing where the data set's reader does not count that.

    Raises:
      ValueError, RecordError: as `open_records`.
    """
    if data.name in ("scenes", "prepared", "jsonl", *_VERSIONS):
        return {}
    root, (reader, options) = _root(data), _reader(data)
    return reader.report(root, split, **options)


def files(data: ConfigDict, split: str) -> list[pathlib.Path]:
    """The annotation files that a split is read from, for checksums; none for a split that JSON lines do not have.

    Raises:
      ValueError: for a data set that is not read from such files.
      RecordError: where one that is needed is missing.
    """
    root = _root(data)
    if data.name == "jsonl":
        return [path for path in (root / f"{split}.jsonl",) if path.is_file()]
    reader, options = _reader(data)
    return reader.files(root, split, **options)


def published_counts(data: ConfigDict) -> dict[str, int]:
    """{split: records} that the authors of a data set count; nothing for data of one's own, and for `more`, which counts facts."""
    if data.name in _VERSIONS:
        return mnre.COUNTS[_VERSIONS[data.name]]
    if data.name in _YEARS:
        return twitter.COUNTS[_YEARS[data.name]]
    return gmner.COUNTS if data.name == "gmner" else {}


def labels(data: ConfigDict, task: str, train: Sequence[Record]) -> Labels:
    """(the labels of a task in the order of their ids, the empty one).

    relation: all relations, the empty one (first, unless a table of ids says otherwise) included. triples: the relations of triples
    without the empty one, which is `data.none_label`, or '' where that is itself a relation. entities: O, then B-X and I-X of each
    entity type. Of JSON lines they are those of the training split, sorted; of a prepared data set those it was prepared with, else
    those of its training split. Under a view: of mentions and regions one type and one relation, of pairs the relations of triples.

    Args:
      data: section of a configuration.
      task: 'relation', 'entities' or 'triples'.
      train: the records of the training split.

    Raises:
      ValueError: for an unknown task, or one that the data set has no annotation for; says which it has.
    """
    if task not in TASKS:
        raise ValueError(f"task.name is one of {', '.join(TASKS)}, found {task!r}")
    if view_of(data):
        return _labels_of_view(data, task, train)
    if (stored := _prepared_labels(data).get(task)) is not None:
        return stored
    there = _tasks(data, train)
    if task not in there:
        raise ValueError(f"{_name(data)} is not annotated for task.name={task!r}; {_has(there)}")
    if task == "relation":
        return _relations(data, train)
    if task == "entities":
        return bio.tag_names(_entity_types(data, train)), bio.OUTSIDE
    names = _triple_relations(data, train)
    return names, _no_triple(data, names)


def all_labels(data: ConfigDict, train: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """{task: {labels, none}} of every task that a data set is annotated for, as plain JSON values.

    Under the key 'labels' of what `builders.prepare` is told about a data set, this gives a prepared data set the same ids.
    """
    there = (views.TASK_OF[view_of(data)],) if view_of(data) else _tasks(data, train)
    found = {task: labels(data, task, train) for task in there}
    return {task: {"labels": list(names), "none": none} for task, (names, none) in found.items()}


def open_pictures(plan: PicturePlan, data: ConfigDict | None = None, *, released: bool = False) -> PictureSource | None:
    """What gives a record's (pixels, present) under a plan; None for a plan without slots.

    Args:
      data: section of a configuration; where it names a prepared data set, pictures come from there, else from their files.
      released: as the reference flavour sees them (source.ReleasedPictures).
    """
    if not plan:
        return None
    if data is not None and data.name == "prepared":
        return PreparedPictures(pathlib.Path(data.root).expanduser(), plan)
    if released and data is not None and data.name != "scenes":
        return ReleasedPictures(plan, read_picture, str(data.root))
    return FilePictures(plan, read_picture)


def read_picture(name: str) -> Image.Image:
    """A picture by its path, or by its key in `scenes`."""
    return _drawn(name) if name.startswith(scenes.PREFIX) else decode.read_picture(name)


def readable(name: str) -> bool:
    """Whether the picture of that path, or key in `scenes`, is there and undamaged."""
    if not name.startswith(scenes.PREFIX):
        try:
            decode.probe(name)
        except decode.PictureError:
            return False
    return True


@functools.lru_cache(maxsize=32768)  # drawing takes longer than a small model's step; 12 KiB each at 64 pixels
def _drawn(key: str) -> Image.Image:
    return Image.fromarray(scenes.draw(key))


def _reader(data: ConfigDict) -> tuple[types.ModuleType, dict[str, Any]]:
    """The reader of a published data set, and what its functions take beside folder and split."""
    if data.name in _YEARS:
        return twitter, {"year": _YEARS[data.name], "objects": data.objects}
    if data.name in _VERSIONS:
        return mnre, {"version": _VERSIONS[data.name], "objects": data.objects}
    if data.name == "more":
        return more, {"published": data.published, "merge_val": data.merge_val}
    if data.name == "gmner":
        return gmner, {}
    raise ValueError(f"data.name={data.name!r} is not a published data set")


def _root(data: ConfigDict) -> pathlib.Path:
    """The folder that a data set is read from. Raises RecordError where there is none."""
    root = pathlib.Path(data.root).expanduser()
    if not data.root or not root.is_dir():
        raise RecordError(
            f"data.root={data.root!r} is not a folder: give the folder of {data.name!r} (--config.data.root, or --root in launch.evaluate)"
        )
    return root


def _name(data: ConfigDict) -> str:
    """What a data set is called in messages."""
    return f"data.name={data.name!r}" + (f" (data.scene={data.scene!r})" if data.name == "scenes" else "")


def _has(there: Sequence[str]) -> str:
    return f"it is annotated for {', '.join(there)}" if there else "nor for any other"


def _tasks(data: ConfigDict, train: Sequence[Record]) -> tuple[str, ...]:
    """The tasks that a data set is annotated for."""
    if data.name == "scenes":
        return _TASKS_OF_SCENES.get(data.scene, ())
    if data.name in _TASKS:
        return _TASKS[data.name]
    found = {task for record in train for task, marks in _annotation(record).items() if marks}
    return tuple(task for task in TASKS if task in found)


def _annotation(record: Record) -> dict[str, set[str]]:
    """{task: what a record is annotated with for it}."""
    return {
        "relation": {relation.label for relation in record.relations if relation.label is not None},
        "entities": {mention.type for mention in record.mentions if mention.type is not None},
        "triples": {triple.label for triple in record.triples},
    }


def _prepared_labels(data: ConfigDict) -> dict[str, Labels]:
    """{task: labels} that a prepared data set was prepared with; nothing for the others."""
    if data.name != "prepared":
        return {}
    stored = Contents.of(pathlib.Path(data.root).expanduser()).about.get("labels", {})
    return {task: (tuple(found["labels"]), found["none"]) for task, found in stored.items()}


def _labels_of_view(data: ConfigDict, task: str, train: Sequence[Record]) -> Labels:
    """`labels` under a view, through which the training records are seen, too."""
    name = view_of(data)
    views.check(name)
    if task != views.TASK_OF[name]:
        raise ValueError(f"data.view={name!r} goes with task.name={views.TASK_OF[name]!r}, found {task!r}")
    if name == "mentions":
        return bio.tag_names((views.ENTITY,)), bio.OUTSIDE
    if name == "regions":
        return (views.OBJECT,), data.none_label
    if data.name == "jsonl":
        return _relations(data, train)
    names = _triple_relations(data, train)
    none = _no_triple(data, names)
    return (none, *names), none


def _no_triple(data: ConfigDict, names: Sequence[str]) -> str:
    """The empty relation beside those of triples."""
    return "" if data.none_label in names else data.none_label


def _relations(data: ConfigDict, train: Sequence[Record]) -> Labels:
    if data.name == "scenes":
        names = scenes.relations(data.scene)
        return names, names[0]
    if data.name in _VERSIONS:
        version = _VERSIONS[data.name]
        return mnre.relations(pathlib.Path(data.root).expanduser(), version), mnre.none_label(version)
    found = {label for record in train for label in _annotation(record)["relation"]}
    return (data.none_label, *sorted(found - {data.none_label})), data.none_label


def _entity_types(data: ConfigDict, train: Sequence[Record]) -> tuple[str, ...]:
    if data.name == "scenes":
        return scenes.entity_types()
    if data.name in _YEARS:
        return twitter.entity_types()
    if data.name == "gmner":
        return gmner.entity_types()
    return tuple(sorted({kind for record in train for kind in _annotation(record)["entities"]}))


def _triple_relations(data: ConfigDict, train: Sequence[Record]) -> tuple[str, ...]:
    if data.name == "scenes":
        return scenes.triple_relations()
    if data.name == "gmner":
        return gmner.entity_types()
    if data.name == "more":
        return more.relations(pathlib.Path(data.root).expanduser(), published=data.published)
    return tuple(sorted({label for record in train for label in _annotation(record)["triples"]} - {data.none_label}))
