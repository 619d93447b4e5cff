"""MNRE, versions 2 and 1, in its published layout.

    ROOT/txt/ours_{train,val,test}.txt                     one Python dictionary a line: token, h, t, img_id, relation
    ROOT/ours_rel2id.json                                  {relation: id}
    ROOT/img_org/{train,val,test}/                         photos
    ROOT/boxes/{train,dev,test}_detect_box_dict.pth        {STEM_crop_K.jpg: (cx, cy, w, h, area)} of the photo STEM.jpg; or .json, which
                                                           launch.detect writes and which goes before all others (detections.py)
    ROOT/img_detect/{train,val,test}/{split}_img2crop.pth  the same objects as files (crops.py); used where it is there
    ROOT/txt/mre_{train,dev,test}_dict.pth                 {line index: [crop file, ...]}, found by text queries
    ROOT/img_vg/{train,val,test}/crops/                    those crop files
    ROOT/boxes/{train,dev,test}_vg_box_dict.pth            {crop file: (cx, cy, w, h, area)} of the line's photo; optional

Text files may lie in ROOT, ROOT/txt or ROOT/mnre_txt, also under the names mnre_{split}.txt and mnre_org_{split}.txt (version 1)
of the data set's own repository. Version 1 has 31 relations, calls the empty one 'none', was published without a table of ids,
and copies of it circulate with image ids that are numbers or lack '.jpg'. Zheng et al., MNRE, ICME 2021.

The grounding crops were found with queries made from the gold relation, and their number tells it: protocol 'grounded' serves
comparison with published tables only.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from mmre_jax import storage
from mmre_jax.data.dataset import OBJECTS, DataSet, root_of
from mmre_jax.data.pictures import inside
from mmre_jax.data.readers import crops, detections
from mmre_jax.data.readers.published import check, field, mention, relation_of, relation_table, rows, tokens, torch_table
from mmre_jax.records import SPLITS, Box, Record, RecordError, Region, Relation

VERSIONS = (1, 2)
COUNTS = {1: {"train": 7824, "val": 975, "test": 1282}, 2: {"train": 12247, "val": 1624, "test": 1614}}
_IN_DICTS = {"train": "train", "val": "dev", "test": "test"}
_FOLDERS = ("txt", "mnre_txt", "")
_TEXT = {
    1: ("mnre_org_{split}.txt", "mnre_{split}.txt", "{split}.txt"),
    2: ("ours_{split}.txt", "mnre_{split}.txt", "mnre_{split} .txt", "{split}.txt"),  # the blank is in the published name of val
}
_IDS = {1: ("mnre_rel2id.json", "rel2id.json"), 2: ("ours_rel2id.json", "rel2id.json")}
logger = logging.getLogger(__name__)
_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")


def read(root: str | os.PathLike[str], split: str, *, objects: str = "none", version: int = 2) -> list[Record]:
    """Reads one split.

    Args:
      root: the folder described above, on a disk or in a bucket.
      split: train, val or test.
      objects: which object crops become the records' regions: 'none', 'detected' (of an image-only detector: boxes of one's own detector,
        else the published files in their published order, else boxes by their number K) or 'grounded' (the published crops, in their
        published order, before the detected ones where there are such: the released systems look at both; the grounded ones leak the
        label). A region's `source` says which it is.
      version: 2 or 1.

    Returns:
      A record per line, with one relation each, no mentions (the files name only the pair), and id 'mnre-{split}-{line}', the line
      counted from 0 as the published crop lists do. Photos and crops need not exist.

    Raises:
      RecordError: a file is missing or damaged, a line is broken, a span is out of range, or a relation unknown.
      PictureError: a picture's name leads out of `root`.
    """
    check("split", split, SPLITS)
    check("objects", objects, OBJECTS)
    known = frozenset(relations(root, version))
    records = [_record(root, split, index, *line, known, version) for index, line in enumerate(rows(_text_file(root, split, version)))]
    if objects != "none":
        records = _with_detected(root, split, records, needed=objects == "detected")
    return _with_grounded(root, split, records) if objects == "grounded" else records


def relations(root: str | os.PathLike[str], version: int = 2) -> tuple[str, ...]:
    """The relation names, ordered by id.

    Version 1 without a table of ids: the empty relation, then the others of the training split in alphabetical order.

    Raises:
      RecordError: the table is missing (version 2), or is not {name: 0, name: 1, ...}.
    """
    check("version", version, VERSIONS)
    found = [path for path in (storage.path(root, folder, name) for name in _IDS[version] for folder in ("", "txt")) if path.is_file()]
    if not found and version == 1:
        file = _text_file(root, "train", version)
        seen = {field(value, "relation", str, where) for where, value in rows(file)}
        return tuple(sorted(seen, key=lambda name: (name != none_label(version), name)))
    if not found:
        raise _missing(storage.path(root), _IDS[version], "table of relation ids")
    names = relation_table(found[0])
    if none_label(version) not in names:
        raise RecordError(f"{found[0]}: no relation {none_label(version)!r} among {sorted(names)}; is this version {version}?")
    return names


def none_label(version: int = 2) -> str:
    """The name of the empty relation: 'None' in version 2, 'none' in version 1."""
    check("version", version, VERSIONS)
    return {1: "none", 2: "None"}[version]


def files(root: str | os.PathLike[str], split: str, *, objects: str = "none", version: int = 2) -> list[pathlib.Path]:
    """The annotation files that `read` reads for a split, for checksums. Raises RecordError where one that is needed is missing."""
    found = [_text_file(root, split, version)]
    boxes = _dict_path(root, split, "detected")
    detected = [boxes] if boxes.suffix == ".json" else [_crop_list(root, split), boxes]  # one's own go before all others
    if objects == "grounded":
        found += [_dict_file(root, split, objects), _grounded_boxes(root, split)]
    elif objects == "detected" and not any(path.is_file() for path in detected):
        found.append(_dict_file(root, split, objects))
    return [path for path in (*found, *(detected if objects != "none" else ())) if path.is_file()]


def read_boxes(path: str | os.PathLike[str]) -> tuple[dict[str, Box], int]:
    """Reads {crop file: (cx, cy, w, h, area)}, and what else detections.py describes.

    Returns:
      {crop file: normalised xyxy box, clipped to the picture}, and how many boxes were dropped as empty after clipping.

    Raises:
      RecordError: the file is damaged, or an entry is not a name with a box.
    """
    regions, dropped = detections.read(path)
    return {name: region.box for name, region in regions.items() if region.box is not None}, dropped


def _record(root: str | os.PathLike[str], split: str, index: int, where: str, line: Any, known: frozenset[str], version: int) -> Record:
    words, label = tokens(line, where), relation_of(line, known, where)
    image = field(line, "img_id", (str, int, float) if version == 1 else str, where)
    if version == 1:
        image = str(image)
        image = image if image.lower().endswith(_SUFFIXES) else f"{image}.jpg"
    head, tail = (mention(line, key, len(words), where) for key in ("h", "t"))
    return Record(
        id=f"mnre-{split}-{index}",
        words=words,
        image=inside(root, f"img_org/{split}/{image}", f"{where}, field 'img_id'"),
        relations=(Relation(head, tail, label),),
        origin=where,
    )


def _with_detected(root: str | os.PathLike[str], split: str, records: list[Record], needed: bool) -> list[Record]:
    files = [_crop_list(root, split), _dict_path(root, split, "detected")]
    if not any(file.is_file() for file in files):
        if needed:
            raise _missing(storage.path(root), [str(file.relative_to(root)) for file in files], f"detected objects of split {split!r}")
        crops.warn_of_lists(files, split)
        return records
    own = files[1].suffix == ".json"
    regions = _regions(files[1]) if files[1].is_file() else {}
    if own and (others := [str(file) for file in (files[0], files[1].with_suffix(".pth")) if file.is_file()]):
        logger.info("%s: read instead of %s", files[1], " and ".join(others))
    if files[0].is_file() and not own:
        found = crops.detected(root, files[0], records, {name: region.box for name, region in regions.items() if region.box is not None})
    else:
        found = detections.by_photo(files[1], regions, records)
    return [dataclasses.replace(record, regions=regions) for record, regions in zip(records, found, strict=True)]


def _with_grounded(root: str | os.PathLike[str], split: str, records: list[Record]) -> list[Record]:
    file = _dict_file(root, split, "grounded")
    boxes = _regions(_grounded_boxes(root, split)) if _grounded_boxes(root, split).is_file() else {}
    lists = torch_table(file)
    found = []
    for index, record in enumerate(records):
        names = crops.names(lists.get(index, lists.get(str(index))), file, f"line {index}", record.origin)
        paths = [inside(root, f"img_vg/{split}/crops/{name}", f"{file}, line {index}") for name in names]
        grounded = tuple(
            Region(boxes[name].box if name in boxes else None, path, "grounded") for name, path in zip(names, paths, strict=True)
        )
        found.append(dataclasses.replace(record, regions=grounded + record.regions))
    crops.warn_of_folders(file, [region for record in found for region in record.regions if region.source == "grounded"])
    return found


def _regions(path: pathlib.Path) -> dict[str, Region]:
    regions, dropped = detections.read(path)
    if dropped:
        logger.warning("%s: %d of %d boxes are empty and were left out", path, dropped, dropped + len(regions))
    return regions


def _text_file(root: str | os.PathLike[str], split: str, version: int) -> pathlib.Path:
    names = [name.format(split=split) for name in _TEXT[version]]
    for path in (storage.path(root, folder, name) for name in names for folder in _FOLDERS):
        if path.is_file():
            return path
    raise _missing(storage.path(root), names, f"text of split {split!r}")


def _dict_path(root: str | os.PathLike[str], split: str, objects: str) -> pathlib.Path:
    name = _IN_DICTS[split]
    return detections.path_of(root, name) if objects == "detected" else storage.path(root, "txt", f"mre_{name}_dict.pth")


def boxes_path(root: str | os.PathLike[str], split: str) -> pathlib.Path:
    """Where the objects of a split that one's own detector found are, or would be, see detections.py."""
    return detections.json_path(root, _IN_DICTS[split])


def _crop_list(root: str | os.PathLike[str], split: str) -> pathlib.Path:
    return storage.path(root, "img_detect", split, f"{split}_img2crop.pth")


def _dict_file(root: str | os.PathLike[str], split: str, objects: str) -> pathlib.Path:
    path = _dict_path(root, split, objects)
    if not path.is_file():
        raise _missing(path.parent, [path.name], f"{objects} objects of split {split!r}")
    return path


def _grounded_boxes(root: str | os.PathLike[str], split: str) -> pathlib.Path:
    return storage.path(root, "boxes", f"{_IN_DICTS[split]}_vg_box_dict.pth")


def _missing(folder: pathlib.Path, names: Sequence[str], what: str) -> RecordError:
    if not folder.is_dir():
        return RecordError(f"{folder}: no such folder ({what}: {' or '.join(names)})")
    paths = (path for pattern in ("*", "*txt/*", "boxes/*") for path in folder.glob(pattern) if path.is_file())
    there = sorted(str(path.relative_to(folder)) for path in paths)
    return RecordError(f"{folder}: no {what}, expected {' or '.join(names)}; there are: {', '.join(there[:30]) or 'no files'}")


def _dataset(name: str, version: int) -> DataSet:
    return DataSet(
        name=name,
        read=lambda data, split: read(root_of(data, buckets=True), split, objects=data.objects, version=version),
        objects=OBJECTS,
        tasks=lambda data, train: ("relation",),
        labels=lambda data, task, train: (relations(root_of(data, buckets=True), version), none_label(version)),
        files=lambda data, split: files(root_of(data, buckets=True), split, objects=data.objects, version=version),
        published=COUNTS[version],
    )


MNRE, MNRE_V1 = _dataset("mnre", 2), _dataset("mnre_v1", 1)
