"""What a data set is: one object, which a reader file makes of its functions at its end, and a user of their own in the same way."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from mmre_jax import storage
from mmre_jax.data import pictures as pictures_lib
from mmre_jax.data.pictures import PicturePlan, Reader
from mmre_jax.data.readers import bio
from mmre_jax.records import Record, RecordError, Region

TASKS = ("relation", "entities", "triples", "objects")
OBJECT_REGIONS = "regions with the source 'gold', a box and a label"  # for messages
BACKGROUND = "background"  # what a detector calls the places without an object
OBJECTS = ("detected", "none", "grounded")  # the kinds of object crops that there can be, the usual one first

Labels = tuple[tuple[str, ...], str]
Pixels = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class RecordSource(Protocol):
    """Records by number. A list of records is one."""

    def __len__(self) -> int:
        """How many records there are."""
        ...

    def __getitem__(self, index: int, /) -> Record:
        """The record `index`, from 0."""
        ...


class Counted(list[Record]):
    """Records, and what reading them found and left out, counted by reason."""

    def __init__(self, records: Iterable[Record], counts: Mapping[str, int]) -> None:
        super().__init__(records)
        self.counts = dict(counts)


class PictureSource(Protocol):
    """The pictures of a record, as `pictures.gather` gives them. It is sent to the processes that prepare records."""

    def __call__(self, record: Record) -> Pixels:
        """(pixels, present) of the record."""
        ...


@dataclasses.dataclass(frozen=True)
class FilePictures:
    """Pictures decoded from their files (or by `read` from its keys) each time they are asked for.

    draft: reads instead of `read` a picture that needs to be no larger than so many pixels on both sides: (name, pixels) -> picture.
    blank: as of `pictures.gather`.
    """

    plan: PicturePlan
    read: Reader = pictures_lib.read_picture
    draft: Callable[[str, int], Image.Image] | None = None
    blank: bool = False

    def __call__(self, record: Record) -> Pixels:
        if self.draft is None:
            return pictures_lib.gather(record, self.plan, self.read, blank=self.blank)
        draft, least = self.draft, pictures_lib.least_sides(record, self.plan)
        return pictures_lib.gather(record, self.plan, lambda name: draft(name, least[name]), blank=self.blank)


def annotated_tasks(data: ConfigDict, train: Sequence[Record]) -> tuple[str, ...]:
    """The tasks that any of these records is annotated for."""
    del data  # whatever it says
    found = {task for record in train for task, marks in _annotation(record).items() if marks}
    return tuple(task for task in TASKS if task in found)


def labels_of_records(data: ConfigDict, task: str, train: Sequence[Record]) -> Labels:
    """The labels that these records have, sorted, and data.none_label as the empty one; see `DataSet.labels`."""
    found = {label for record in train for label in _annotation(record)[task]}
    if task == "entities":
        return entity_labels(sorted(found))
    if task == "objects":
        where = next((f"{record.origin or record.id}: " for record in train if BACKGROUND in _annotation(record)[task]), "")
        return object_labels(sorted(found), where)
    names = tuple(sorted(found - {data.none_label}))
    return triple_labels(data, names) if task == "triples" else ((data.none_label, *names), data.none_label)


def entity_labels(types: Sequence[str]) -> Labels:
    """The tags of entity types."""
    return bio.tag_names(types), bio.OUTSIDE


def triple_labels(data: ConfigDict, names: Sequence[str]) -> Labels:
    """The relations of triples with the empty one beside them: data.none_label, or '' where that is itself a relation."""
    return tuple(names), "" if data.none_label in names else data.none_label


@dataclasses.dataclass(frozen=True, eq=False)
class DataSet:
    """A data set. Every function is given a configuration's section `data`, and reads of it what concerns it.

    name: what data.name calls it.
    read: (data, split) -> the records of train, val or test.
    objects: the kinds of object crops that it has, the usual one first.
    tasks: (data, train) -> the tasks that it is annotated for; if not given, those that its training records are annotated for.
    labels: (data, task, train) -> (labels of one of these tasks in the order of their ids, the empty one). relation: all relations, the
      empty one among them. triples: the relations without the empty one. entities: O, then B-X and I-X of each type. If not given,
      those of its training records, sorted. objects: the background, then the classes.
    files: (data, split) -> the annotation files, for checksums; none for a split that there need not be. None where there are no files.
    report: (data, split) -> what reading a split finds and what it leaves out, counted by reason. Where `read` gives Counted records, it
      is not asked for what is known already.
    published: {split: records} that its authors count.
    pictures: (data, plan) -> what gives its records' pictures. None where they are files, which a run then looks at before it begins.
    cuts_crops: crops can be cut from its photos at any box, as the view of pairs needs it.
    chosen_by: the setting that says which annotation is read, for messages.
    """

    name: str
    read: Callable[[ConfigDict, str], RecordSource]
    objects: tuple[str, ...] = OBJECTS
    tasks: Callable[[ConfigDict, Sequence[Record]], tuple[str, ...]] = annotated_tasks
    labels: Callable[[ConfigDict, str, Sequence[Record]], Labels] = labels_of_records
    files: Callable[[ConfigDict, str], list[pathlib.Path]] | None = None
    report: Callable[[ConfigDict, str], dict[str, int]] | None = None
    published: Mapping[str, int] = dataclasses.field(default_factory=dict)
    pictures: Callable[[ConfigDict, PicturePlan], PictureSource] | None = None
    cuts_crops: bool = True
    chosen_by: str = ""


def object_labels(names: Sequence[str], where: str = "") -> Labels:
    """The classes of objects behind the background. Raises RecordError, which begins with `where`, where one is called like it."""
    if BACKGROUND in names:
        raise RecordError(f"{where}a region's label is {BACKGROUND!r}, which is what a detector calls the places without an object")
    return (BACKGROUND, *names), BACKGROUND


def objects_of(record: Record) -> tuple[Region, ...]:
    """The annotated objects of a record's picture: its gold regions with a box and a label."""
    return tuple(region for region in record.regions if region.source == "gold" and region.box is not None and region.label is not None)


def root_of(data: ConfigDict, *, buckets: bool = False) -> pathlib.Path:
    """The folder that a data set is read from.

    Args:
      data: section of a configuration.
      buckets: whether its reader reads from buckets, too.

    Raises:
      RecordError: where there is no such folder, or it is in a bucket and its reader does not read from there.
      StorageError: a bucket that cannot be reached.
    """
    if not buckets and storage.is_remote(data.root):
        raise RecordError(f"data.root={data.root!r}: {data.name!r} is read from a disk: copy it there first")
    root = storage.at_home(data.root)
    if not data.root or not storage.is_dir(root):
        raise RecordError(
            f"data.root={data.root!r} is not a folder: give the folder of {data.name!r} (--config.data.root, or --root in launch.evaluate)"
        )
    return root


def _annotation(record: Record) -> dict[str, set[str]]:
    """{task: what a record is annotated with for it}."""
    return {
        "relation": {relation.label for relation in record.relations if relation.label is not None},
        "entities": {mention.type for mention in record.mentions if mention.type is not None},
        "triples": {triple.label for triple in record.triples},
        "objects": {str(region.label) for region in objects_of(record)},
    }
