"""The data set that a configuration's section `data` names: its records, its labels, its pictures."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict
from PIL import Image

from mmre_jax.data import pictures as pictures_lib
from mmre_jax.data.pictures import PicturePlan
from mmre_jax.data.prepared import Contents
from mmre_jax.data.readers import jsonl, mnre, scenes
from mmre_jax.data.source import FilePictures, PictureSource, PreparedPictures, PreparedSource
from mmre_jax.records import Record, RecordError

SPLITS = ("train", "val", "test")
NAMES = ("scenes", "mnre", "mnre_v1", "jsonl", "prepared")


def open_records(data: ConfigDict, split: str) -> Sequence[Record]:
    """The records of a split, read and checked.

    Args:
      data: name, root, objects; for scenes also scene and counts.

    Raises:
      ValueError: for an unknown data set or split.
      RecordError: for a damaged or missing file.
    """
    if split not in SPLITS:
        raise ValueError(f"a split is one of {', '.join(SPLITS)}, found {split!r}")
    if data.name == "scenes":
        return scenes.read(data.scene, split, data.counts[SPLITS.index(split)])
    if data.name not in NAMES:
        raise ValueError(f"data.name is one of {', '.join(NAMES)}, found {data.name!r}")
    root = pathlib.Path(data.root).expanduser()
    if not data.root or not root.is_dir():
        raise RecordError(
            f"data.root={data.root!r} is not a folder: give the folder of {data.name!r} (--config.data.root, or --root in launch.evaluate)"
        )
    if data.name == "prepared":
        return PreparedSource(root, split)
    if data.name == "jsonl":
        return jsonl.read(root / f"{split}.jsonl")
    return mnre.read(root, split, objects=data.objects, version=1 if data.name == "mnre_v1" else 2)


def relation_labels(data: ConfigDict, train: Sequence[Record]) -> tuple[tuple[str, ...], str]:
    """(all relation labels in the order of their ids, the empty one).

    MNRE's come from its relation file; of JSON lines they are those of the training split, sorted, behind `data.none_label`.
    """
    if data.name == "prepared":
        about = Contents.of(pathlib.Path(data.root).expanduser()).about
        none = about["none_label"] or data.none_label
        return (none, *(label for label in about["relations"] if label != none)), none
    if data.name == "scenes":
        labels = scenes.relations(data.scene)
        return labels, labels[0]
    if data.name in ("mnre", "mnre_v1"):
        version = 1 if data.name == "mnre_v1" else 2
        return mnre.relations(pathlib.Path(data.root).expanduser(), version), mnre.none_label(version)
    found = {relation.label for record in train for relation in record.relations if relation.label is not None}
    return (data.none_label, *sorted(found - {data.none_label})), data.none_label


def open_pictures(plan: PicturePlan, data: ConfigDict | None = None) -> PictureSource | None:
    """What gives a record's (pixels, present) under a plan; None for a plan without slots.

    Args:
      data: section of a configuration; where it names a prepared data set, pictures come from there, else from their files.
    """
    if not plan:
        return None
    if data is not None and data.name == "prepared":
        return PreparedPictures(pathlib.Path(data.root).expanduser(), plan)
    return FilePictures(plan, read_picture)


def read_picture(name: str) -> Image.Image:
    """A picture by its path, or by its key in `scenes`."""
    return _drawn(name) if name.startswith(scenes.PREFIX) else pictures_lib.read_picture(name)


@functools.lru_cache(maxsize=32768)  # drawing takes longer than a small model's step; 12 KiB each at 64 pixels
def _drawn(key: str) -> Image.Image:
    return Image.fromarray(scenes.draw(key))
