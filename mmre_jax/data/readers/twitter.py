"""Twitter-2015 and Twitter-2017: posts with named entities, in the layout of the released systems.

    ROOT/twitter{YEAR}/{train,valid,test}.txt                          sentences with BIO tags (see bio.py)
    ROOT/twitter{YEAR}_images/ID.jpg                                   photos
    ROOT/twitter{YEAR}/twitter{YEAR}_{train,val,test}_dict.pth         {ID.jpg: [crop file, ...]}
    ROOT/twitter{YEAR}_aux_images/{train,val,test}/crops/              those crop files
    ROOT/twitter{15,17}_detect/twitter{15,17}_img2crop.pth             detected crops (crops.py), of all splits; optional

The type that Twitter-2015 calls OTHER is MISC here, as it is in Twitter-2017 and in every published table of both. The crops were
found by visual grounding, with the noun phrases of the sentence as queries: unlike MNRE's they were not cut with the annotation in
hand. Zhang et al., Adaptive Co-attention Network for NER in Tweets, AAAI 2018; Lu et al., Visual Attention Model for Name Tagging
in Multimodal Social Media, ACL 2018.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from mmre_jax.data.dataset import Counted, DataSet, entity_labels, root_of
from mmre_jax.data.pictures import inside
from mmre_jax.data.readers import bio, crops
from mmre_jax.data.readers.published import check, missing, torch_table
from mmre_jax.records import SPLITS, Record, Region

YEARS = (2015, 2017)
OBJECTS = ("grounded", "none")
COUNTS = {2015: {"train": 4000, "val": 1000, "test": 3257}, 2017: {"train": 3373, "val": 723, "test": 723}}
TYPES = ("PER", "LOC", "ORG", "MISC")
_NAMES = {**{kind: kind for kind in TYPES}, "OTHER": "MISC"}
_TEXT = {"train": "train.txt", "val": "valid.txt", "test": "test.txt"}


def read(root: str | os.PathLike[str], split: str, *, year: int = 2015, objects: str = "none") -> Counted:
    """Reads one split.

    Args:
      root: the folder described above, which holds twitter{YEAR}/.
      split: train, val or test.
      year: 2015 or 2017.
      objects: 'none', or 'grounded' for the published crops as the records' regions, in their published order; before the detected
        ones where there are such: released systems look at both.

    Returns:
      A record per sentence, with typed mentions, id 'twitter{YEAR}-{split}-{n}', n counted from 0. Photos and crops need not exist. A
      photo that the crop lists leave out (1 of Twitter-2015's) has no regions.

    Raises:
      RecordError: a file is missing or damaged, or a line is broken.
      PictureError: a picture's name leads out of `root`.
    """
    return Counted(*_read(root, split, year, objects))


def report(root: str | os.PathLike[str], split: str, *, year: int = 2015, objects: str = "none") -> dict[str, int]:
    """What `read` with the same arguments finds.

    Returns:
      records, mentions; entities_begun_by_i: mentions whose first tag is an I-X; with objects='grounded' also crops, and
      photos_without_crop_list: records that the crop lists leave out.
    """
    return _read(root, split, year, objects)[1]


def entity_types() -> tuple[str, ...]:
    """The entity types, in a fixed order."""
    return TYPES


def files(root: str | os.PathLike[str], split: str, *, year: int = 2015, objects: str = "none") -> list[pathlib.Path]:
    """The annotation files that `read` reads, for checksums. Raises RecordError where one is missing."""
    check("split", split, SPLITS)
    check("year", year, YEARS)
    check("objects", objects, OBJECTS)
    names = [_TEXT[split]] + [f"twitter{year}_{split}_dict.pth"] * (objects == "grounded")
    found = [pathlib.Path(root, f"twitter{year}", name) for name in names]
    for path in found:
        if not path.is_file():
            raise missing(root, f"twitter{year}/{path.name}", f"twitter{year}/ and twitter{year}_images/")
    return found + [path for path in (_crop_list(root, year),) if objects == "grounded" and path.is_file()]


def _read(root: str | os.PathLike[str], split: str, year: int, objects: str) -> tuple[list[Record], dict[str, int]]:
    text, *lists = files(root, split, year=year, objects=objects)
    sentences = bio.read(text, _NAMES)
    records = [
        Record(
            id=f"twitter{year}-{split}-{index}",
            words=sentence.words,
            dangling=bio.dangling(sentence.tags),
            image=inside(root, f"twitter{year}_images/{sentence.image}.jpg", sentence.where),
            mentions=bio.mentions(sentence.tags),
            origin=sentence.where,
        )
        for index, sentence in enumerate(sentences)
    ]
    found = {
        "records": len(records),
        "mentions": sum(len(record.mentions) for record in records),
        "entities_begun_by_i": sum(len(record.dangling) for record in records),
    }
    if not lists:
        return records, found
    records, unlisted = _with_crops(root, lists[0], f"twitter{year}_aux_images/{split}/crops", records)
    records = _with_detected(root, lists[1:], year, split, records)
    crops_found = sum(region.source == "grounded" for record in records for region in record.regions)
    return records, {**found, "crops": crops_found, "photos_without_crop_list": unlisted}


def _with_crops(root: str | os.PathLike[str], file: pathlib.Path, folder: str, records: Sequence[Record]) -> tuple[list[Record], int]:
    """The records with their crops as regions, and how many the lists leave out."""
    lists = torch_table(file)
    found, unlisted = [], 0
    for record in records:
        photo = pathlib.Path(record.image or "").name
        names = crops.names(lists.get(photo, []), file, repr(photo), record.origin)
        unlisted += photo not in lists
        regions = tuple(Region(None, inside(root, f"{folder}/{name}", f"{file}, {photo!r}"), "grounded") for name in names)
        found.append(dataclasses.replace(record, regions=regions))
    crops.warn_of_folders(file, [region for record in found for region in record.regions])
    return found, unlisted


def _with_detected(
    root: str | os.PathLike[str], lists: Sequence[pathlib.Path], year: int, split: str, records: list[Record]
) -> list[Record]:
    """The records with their detected crops behind the grounded ones, where there is a list of them."""
    if not lists:
        crops.warn_of_lists([_crop_list(root, year)], split)
        return records
    found = crops.detected(root, lists[0], records, {})
    return [dataclasses.replace(record, regions=record.regions + more) for record, more in zip(records, found, strict=True)]


def _crop_list(root: str | os.PathLike[str], year: int) -> pathlib.Path:
    name = f"twitter{year % 100}"
    return pathlib.Path(root, f"{name}_detect", f"{name}_img2crop.pth")


def _dataset(year: int) -> DataSet:
    return DataSet(
        name=f"twitter{year}",
        read=lambda data, split: read(root_of(data), split, year=year, objects=data.objects),
        objects=OBJECTS,
        tasks=lambda data, train: ("entities",),
        labels=lambda data, task, train: entity_labels(entity_types()),
        files=lambda data, split: files(root_of(data), split, year=year, objects=data.objects),
        report=lambda data, split: report(root_of(data), split, year=year, objects=data.objects),
        published=COUNTS[year],
    )


TWITTER2015, TWITTER2017 = map(_dataset, YEARS)
