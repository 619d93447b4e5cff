"""A prepared data set as a source of records and pictures: it gives what the readers' lists and files gave that it was prepared from.

Everything here can be sent to worker processes: open files are left behind and opened again there.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmre_jax import paths
from mmre_jax.data import pictures
from mmre_jax.data.arrays import ABSENT, open_pictures
from mmre_jax.data.dataset import TASKS, DataSet, Labels, Pixels, RecordSource, annotated_tasks, labels_of_records, root_of
from mmre_jax.data.pictures import PicturePlan, Slot
from mmre_jax.data.prepared import PICTURES, VERSION, Contents, PreparedError, decode_record, kind_of, picture_key
from mmre_jax.records import Record
from mmre_jax.text_files import read_json


class _Rows:
    """Rows of a TFDS array_record data set; opened at first use, in each process anew."""

    def __init__(self, folder: pathlib.Path, split: str) -> None:
        self._folder, self._split = folder, split
        self._opened: Any = None

    def _rows(self) -> Any:
        if self._opened is None:
            import tensorflow_datasets as tfds  # slow to import

            builder = tfds.builder_from_directory(self._folder)
            if self._split not in builder.info.splits:
                raise PreparedError(f"{self._folder}: no split {self._split!r}, which prepare.json says there is")
            for file in builder.info.splits[self._split].filepaths:  # as dataset_info.json names them
                name = paths.relative(self._folder, str(file), str(self._folder), PreparedError)
                paths.inside(self._folder, name, str(self._folder), PreparedError)
            self._opened = builder.as_data_source(self._split)
        return self._opened

    def __len__(self) -> int:
        return len(self._rows())

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._rows()[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class PreparedSource:
    """The records of a split of a prepared data set.

    Args:
      folder: what `builders.prepare` made.
      split: one of the splits it has.

    Raises:
      PreparedError: the folder is not a finished prepared data set, or has no such split.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        contents = Contents.of(folder)
        contents.check_split(split)
        self._folder, self._root = contents.folder, contents.root
        self._rows = _Rows(pathlib.Path(folder, "records", VERSION), split)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return decode_record(self._rows[index], self._root, self._folder)


class _Arrays:
    """The arrays of pictures of a prepared folder; mapped at first use, in each process anew."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._opened: dict[str, np.ndarray] = {}

    def __call__(self, slot: Slot) -> np.ndarray:
        """uint8 [N, side, side, 3], of which row ABSENT is black."""
        kind = kind_of(slot)
        if kind not in self._opened:
            path = pathlib.Path(paths.inside(self._folder, f"{PICTURES}/{kind}.npy", self._folder, PreparedError))
            self._opened[kind] = open_pictures(path, slot.side, PreparedError)
        return self._opened[kind]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}


@dataclasses.dataclass(frozen=True, eq=False)
class PictureTable:
    """The pictures of some records, of which a batch is one gather a slot.

    plan: the slots.
    arrays: slot -> uint8 [N, side, side, 3], of which row ABSENT is black.
    rows: {slot name: int32 [records, count]}, where in them the pictures of each record are.
    """

    plan: PicturePlan
    arrays: Callable[[Slot], np.ndarray]
    rows: Mapping[str, np.ndarray]

    def rows_of(self, records: np.ndarray) -> dict[str, np.ndarray]:
        """{slot name: int32 [B, count]} of the pictures of these records, int [B], -1 for none."""
        return {name: np.where(records[:, None] >= 0, rows[records], ABSENT).astype(np.int32) for name, rows in self.rows.items()}

    def __call__(self, records: np.ndarray) -> Pixels:
        """(pixels, present) of these records, int [B], -1 for none: {slot name: uint8 [B, count, side, side, 3]} and bool [B, count]."""
        rows = self.rows_of(records)
        # mode: all rows are there, and numpy copies once more where it has to raise an error half-way.
        pixels = {slot.name: self.arrays(slot).take(rows[slot.name], axis=0, mode="clip") for slot in self.plan}
        return pixels, {name: found != ABSENT for name, found in rows.items()}

    def alone(self) -> tuple[PictureTable, dict[str, np.ndarray]]:
        """The table for arrays without the pictures of other records, and these arrays, {kind: uint8 [n, side, side, 3]}, in memory."""
        rows = dict(self.rows)
        arrays: dict[str, np.ndarray] = {}
        for kind, slots in itertools.groupby(sorted(self.plan, key=kind_of), kind_of):
            same = list(slots)
            used = np.unique(np.concatenate([[ABSENT], *(self.rows[slot.name].ravel() for slot in same)]))
            arrays[kind] = self.arrays(same[0])[used]
            rows |= {slot.name: np.searchsorted(used, self.rows[slot.name]).astype(np.int32) for slot in same}
        return PictureTable(self.plan, lambda slot: arrays[kind_of(slot)], rows), arrays


class PreparedPictures:
    """The pictures of a prepared data set, for its records.

    Args:
      folder: what `builders.prepare` made.
      plan: the slots to fill; those it was prepared for, or some of them.

    Raises:
      PreparedError: the folder is not a finished prepared data set, was prepared for other sizes, counts or resize rules, or is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], plan: PicturePlan) -> None:
        contents = Contents.of(folder)
        contents.check_plan(plan)
        self._plan, self._root = plan, contents.root
        self._index = read_json(path := pathlib.Path(folder, "pictures.json"), PreparedError)
        if not isinstance(self._index, dict) or not all(type(row) is int and row >= 0 for row in self._index.values()):
            raise PreparedError(f"{path}: expected {{key of a picture: its row}}")
        self._rows = None if contents.arrays else _Rows(pathlib.Path(folder, PICTURES, VERSION), PICTURES)
        self._arrays = _Arrays(contents.folder)
        if contents.arrays and plan:
            _check_index(self._index, {kind_of(slot): len(self._arrays(slot)) for slot in plan}, path)

    def __call__(self, record: Record) -> Pixels:
        pixels: dict[str, np.ndarray] = {}
        present: dict[str, np.ndarray] = {}
        for slot in self._plan:
            pixels[slot.name] = np.zeros((slot.count, slot.side, slot.side, 3), np.uint8)
            present[slot.name] = np.zeros((slot.count,), np.bool_)
            for k, row in enumerate(self._found(record, slot)):
                if row is not None:
                    pixels[slot.name][k] = self._arrays(slot)[row] if self._rows is None else self._rows[row]["pixels"]
                    present[slot.name][k] = True
        return pixels, present

    def table(self, records: RecordSource) -> PictureTable | None:
        """The pictures of these records at once; None where they are not in arrays."""
        if self._rows is not None:
            return None
        rows = {slot.name: np.full((len(records), slot.count), ABSENT, np.int32) for slot in self._plan}
        for n in range(len(records)):
            record = records[n]
            for slot in self._plan:
                for k, row in enumerate(self._found(record, slot)):
                    rows[slot.name][n, k] = ABSENT if row is None else row
        return PictureTable(self._plan, self._arrays, rows)

    def _found(self, record: Record, slot: Slot) -> list[int | None]:
        """The row of each of a record's pictures, None for one that was missing or unreadable."""
        return [self._index.get(picture_key(places, slot, self._root)) for places in pictures.sources(record, slot)]


def _check_index(index: Mapping[str, int], rows: Mapping[str, int], path: pathlib.Path) -> None:
    """Raises PreparedError for a picture whose row its array does not have. rows: {kind: how many there are}."""
    for key, row in index.items():
        kind = key.partition(":")[0]
        if kind in rows and not ABSENT < row < rows[kind]:
            raise PreparedError(f"{path}: {key!r:.200} has row {row}, and {kind}.npy rows 1 to {rows[kind] - 1}: prepare it again")


def _stored_labels(data: ConfigDict) -> dict[str, Labels]:
    """{task: labels} that a data set was prepared with."""
    stored = Contents.of(root_of(data)).about.get("labels", {})
    return {task: (tuple(found["labels"]), found["none"]) for task, found in stored.items()}


def _tasks(data: ConfigDict, train: Sequence[Record]) -> tuple[str, ...]:
    there = {*_stored_labels(data), *annotated_tasks(data, train)}
    return tuple(task for task in TASKS if task in there)


def _labels(data: ConfigDict, task: str, train: Sequence[Record]) -> Labels:
    return _stored_labels(data).get(task) or labels_of_records(data, task, train)


PREPARED = DataSet(
    name="prepared",
    read=lambda data, split: PreparedSource(root_of(data), split),
    tasks=_tasks,
    labels=_labels,
    pictures=lambda data, plan: PreparedPictures(root_of(data), plan),
    cuts_crops=False,
)
