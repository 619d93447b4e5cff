"""Where the loader takes records and pictures from: readers' lists and files, or a prepared data set. Both give the same.

Everything here can be sent to worker processes: open files are left behind and opened again there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds

from mmre_jax.data import pictures
from mmre_jax.data.pictures import PictureError, PicturePlan, Reader, read_picture
from mmre_jax.data.prepared import PICTURES_SPLIT, VERSION, Contents, decode_record, picture_key
from mmre_jax.records import Record

STAND_IN = "inf.png"  # the picture that the authors' data folders have for photos that cannot be opened
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


@dataclasses.dataclass(frozen=True)
class ReleasedPictures:
    """Pictures as the released code reads them: a photo that cannot be opened is replaced by the data set's own `inf.png`.

    That file is looked for beside the photo and in the folders above it, up to `root`; where there is none the photo is absent.
    """

    plan: PicturePlan
    read: Reader
    root: str

    def __call__(self, record: Record) -> Pixels:
        pixels, present = pictures.gather(record, self.plan, self.read)
        for slot in self.plan:
            if slot.source == "photo" and not present[slot.name][0] and (stand_in := self.stand_in(record)) is not None:
                with contextlib.suppress(PictureError):
                    pixels[slot.name][0] = pictures.fit(self.read(str(stand_in)), slot.side, slot.resize)
                    present[slot.name][0] = True
        return pixels, present

    def stand_in(self, record: Record) -> pathlib.Path | None:
        """The file that replaces a record's photo, where there is one."""
        photo, root = pathlib.Path(record.image or ""), pathlib.Path(self.root).expanduser()
        if record.image is None or not self.root or not photo.is_relative_to(root):
            return None
        folders = [folder for folder in photo.parents if folder.is_relative_to(root)]
        return next((folder / STAND_IN for folder in folders if (folder / STAND_IN).is_file()), None)

    def replaced(self, records: RecordSource) -> tuple[int, int]:
        """How many photos are not there and replaced by that file, and how many that are not there are zeros; each photo once."""
        found = {record.image: record for record in map(records.__getitem__, range(len(records))) if record.image is not None}
        missing = [record for photo, record in found.items() if not os.path.isfile(photo)]
        replaced = sum(self.stand_in(record) is not None for record in missing)
        return replaced, len(missing) - replaced


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
        self._index = json.loads(pathlib.Path(folder, "pictures.json").read_text("utf-8"))
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
