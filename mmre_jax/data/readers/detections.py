"""Objects that a detector found in photos, by split: what the readers take as `detected` objects, and launch.detect writes.

    ROOT/boxes/{train,dev,test}_detect_box_dict.json   {STEM_crop_K.jpg: {"box": [x_min, y_min, x_max, y_max], "label": ..., "score": ...}}
    ROOT/boxes/{train,dev,test}_detect_box_dict.pth    {STEM_crop_K.jpg: (cx, cy, w, h, area)}, as published

STEM_crop_K.jpg is object K, from 0, of the photo STEM.jpg; boxes are divided by the photo's width and height. An entry of the JSON file may
be a list of four or five numbers, as in the published one. Label and score may be left out. Where both files are there the JSON file is
read: the published one came with the data set, the other was made by its user.
"""

from __future__ import annotations

import json
import logging
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmre_jax import storage
from mmre_jax.data.readers.published import torch_table
from mmre_jax.records import Box, Record, RecordError, Region, as_number, check_box, clip_box
from mmre_jax.text_files import read_json

logger = logging.getLogger(__name__)
_KEYS = ("box", "label", "score")


def path_of(root: str | os.PathLike[str], name: str) -> pathlib.Path:
    """The file of a split, called `name` there (train, dev, test): the JSON file, or, where there is none, the published one."""
    own = json_path(root, name)
    return own if own.is_file() else own.with_suffix(".pth")


def json_path(root: str | os.PathLike[str], name: str) -> pathlib.Path:
    """Where the JSON file of a split is, or would be."""
    return storage.path(root, "boxes", f"{name}_detect_box_dict.json")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Region], int]:
    """Reads a file of either kind.

    Returns:
      {STEM_crop_K.jpg: region with source 'detected'}, published boxes clipped to the picture, and how many of those were dropped as empty
      after clipping.

    Raises:
      RecordError: the file is damaged, or an entry is none of those above; names file and entry.
    """
    table = read_json(path) if pathlib.PurePath(path).suffix == ".json" else torch_table(path)
    if not isinstance(table, dict):
        raise RecordError(f"{os.fspath(path)}: expected {{STEM_crop_K.jpg: box}}, found a {type(table).__name__}")
    regions, dropped = {}, 0
    for name, value in table.items():
        where = f"{os.fspath(path)}: {name!r:.200}"
        region = _region(value, where) if isinstance(value, dict) and isinstance(name, str) else _published(name, value, where)
        if region is None:
            dropped += 1
        else:
            regions[name] = region
    return regions, dropped


def by_photo(path: pathlib.Path, regions: Mapping[str, Region], records: Sequence[Record]) -> list[tuple[Region, ...]]:
    """Each record's regions, by their number K; the log says how many are of photos that no record names.

    Raises:
      RecordError: for a name that is no STEM_crop_K.
    """
    by_stem: dict[str, list[tuple[int, Region]]] = {}
    for name, region in regions.items():
        stem, found, number = os.path.splitext(name)[0].rpartition("_crop_")
        if not found or not number.isdecimal():
            raise RecordError(f"{path}: {name!r:.200} is not STEM_crop_NUMBER.jpg")
        by_stem.setdefault(stem, []).append((int(number), region))
    stems = [pathlib.Path(record.image or "").stem for record in records]
    unknown = sorted(by_stem.keys() - set(stems))
    if unknown:
        logger.warning("%s: %d of %d photos are named by no record, such as %r", path, len(unknown), len(by_stem), unknown[0])
    sorted_ = {stem: tuple(region for _, region in sorted(found, key=lambda pair: pair[0])) for stem, found in by_stem.items()}
    return [sorted_.get(stem, ()) for stem in stems]


def format_json(found: Iterable[tuple[str, Sequence[Region]]]) -> str:
    """The text of a JSON file, an entry a line.

    Args:
      found: (name of a photo, its regions, best first), in the order of the file.

    Raises:
      RecordError: for two photos whose names differ in folder or ending alone: the form cannot tell their objects apart.
    """
    lines, photos = [], {}
    for photo, regions in found:
        stem = pathlib.PurePosixPath(photo).stem
        if photos.setdefault(stem, photo) != photo:
            raise RecordError(f"{photo} and {photos[stem]}: a box dictionary takes one photo of the name {stem!r}")
        for number, region in enumerate(regions):
            entry = {"box": list(region.box or ()), "label": region.label, "score": region.score}
            value = json.dumps({key: item for key, item in entry.items() if item is not None}, ensure_ascii=False, allow_nan=False)
            lines.append(f"{json.dumps(f'{stem}_crop_{number}.jpg', ensure_ascii=False)}: {value}")
    return "{" + ",".join(f"\n{line}" for line in lines) + "\n}\n"


def _region(value: dict[str, Any], where: str) -> Region:
    if unknown := sorted(set(value) - set(_KEYS)):
        raise RecordError(f"{where}: unknown key {', '.join(map(repr, unknown))}; valid are {', '.join(_KEYS)}")
    label, score = value.get("label"), as_number(value.get("score"))
    if label is not None and (not isinstance(label, str) or not label):
        raise RecordError(f"{where}, field 'label': expected a string that is not empty, found {label!r:.80}")
    if value.get("score") is not None and score is None:
        raise RecordError(f"{where}, field 'score': expected a number, found {value['score']!r:.80}")
    return Region(check_box(value.get("box"), f"{where}, field 'box'"), source="detected", label=label, score=score)


def _published(name: Any, value: Any, where: str) -> Region | None:
    numbers = [as_number(x) for x in value] if isinstance(value, (tuple, list)) and len(value) in (4, 5) else [None]
    if not isinstance(name, str) or None in numbers:
        raise RecordError(f"{where}: expected a name with (cx, cy, w, h, area), found {value!r:.200}")
    cx, cy, w, h = (x for x in numbers[:4] if x is not None)
    corners: Box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    box, _ = clip_box(corners)
    return None if box is None else Region(box, source="detected")
