"""Where the loader takes records and pictures from: readers' lists and files, or a prepared data set. Both give the same.

Everything here can be sent to worker processes: open files are left behind and opened again there.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds

from mmre_jax.data import pictures
from mmre_jax.data.pictures import PicturePlan, Reader, read_picture
from mmre_jax.data.prepared import PICTURES_SPLIT, VERSION, Contents, PreparedError, decode_record, picture_key
from mmre_jax.records import Record
from mmre_jax.text_files import read_json

Pixels = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class RecordSource(Protocol):
    """Records by number. A list of records is one."""

    def __len__(self) -> int:
        """How many records there are."""
        ...

    def __getitem__(self, index: int, /) -> Record:
        """The record `index`, from 0."""
        ...


class PictureSource(Protocol):
    """The pictures of a record, as `pictures.gather` gives them."""

    def __call__(self, record: Record) -> Pixels:
        """(pixels, present) of the record."""
        ...


@dataclasses.dataclass(frozen=True)
class FilePictures:
    """Pictures decoded from their files (or by `read` from its keys) each time they are asked for."""

    plan: PicturePlan
    read: Reader = read_picture

    def __call__(self, record: Record) -> Pixels:
        return pictures.gather(record, self.plan, self.read)


class _Rows:
    """Rows of a TFDS array_record data set; opened at first use, in each process anew."""

    def __init__(self, folder: pathlib.Path, split: str) -> None:
        self._folder, self._split = folder, split
        self._opened: Any = None

    def _rows(self) -> Any:
        if self._opened is None:
            self._opened = tfds.builder_from_directory(self._folder).as_data_source(self._split)
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
        self._root = contents.root
        self._rows = _Rows(pathlib.Path(folder, "records", VERSION), split)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return decode_record(self._rows[index], self._root)


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
        self._index = read_json(pathlib.Path(folder, "pictures.json"), PreparedError)
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
