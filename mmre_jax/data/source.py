"""A prepared data set as a source of records and pictures: it gives what the readers' lists and files gave that it was prepared from.

Everything here can be sent to worker processes: open files are left behind and opened again there.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from mmre_jax import paths
from mmre_jax.data import pictures
from mmre_jax.data.dataset import TASKS, DataSet, Labels, Pixels, annotated_tasks, labels_of_records, root_of
from mmre_jax.data.pictures import PicturePlan
from mmre_jax.data.prepared import PICTURES_SPLIT, VERSION, Contents, PreparedError, decode_record, picture_key
from mmre_jax.records import Record
from mmre_jax.text_files import read_json


class _Rows:
    """Rows of a TFDS array_record data set; opened at first use, in each process anew."""

    def __init__(self, folder: pathlib.Path, split: str) -> None:
        self._folder, self._split = folder, split
        self._opened: Any = None

    def _rows(self) -> Any:
        if self._opened is None:
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


class PreparedPictures:
    """The pictures of a prepared data set, for its records.

    Args:
      folder: what `builders.prepare` made.
      plan: the slots to fill; those it was prepared for, or some of them.

    Raises:
      PreparedError: the folder is not a finished prepared data set, or was prepared for other sizes, counts or resize rules.
    """

    def __init__(self, folder: str | os.PathLike[str], plan: PicturePlan) -> None:
        contents = Contents.of(folder)
        contents.check_plan(plan)
        self._plan, self._root = plan, contents.root
        self._index = read_json(path := pathlib.Path(folder, "pictures.json"), PreparedError)
        if not isinstance(self._index, dict) or not all(type(row) is int and row >= 0 for row in self._index.values()):
            raise PreparedError(f"{path}: expected {{key of a picture: its row}}")
        self._rows = _Rows(pathlib.Path(folder, "pictures", VERSION), PICTURES_SPLIT)

    def __call__(self, record: Record) -> Pixels:
        pixels: dict[str, np.ndarray] = {}
        present: dict[str, np.ndarray] = {}
        for slot in self._plan:
            pixels[slot.name] = np.zeros((slot.count, slot.side, slot.side, 3), np.uint8)
            present[slot.name] = np.zeros((slot.count,), np.bool_)
            for k, places in enumerate(pictures.sources(record, slot)):
                row = self._index.get(picture_key(places, slot, self._root))
                if row is not None:
                    pixels[slot.name][k] = self._rows[row]["pixels"]
                    present[slot.name][k] = True
        return pixels, present


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
