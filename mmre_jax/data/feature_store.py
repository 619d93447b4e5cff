"""Features of pictures and of texts on a disk: what an encoder that is not trained made of them, computed once, for every run that has the
same one.

    about.json    {"row": the fields of a row, "made_of": what its encoder and pictures are, in words}
    rows.bin      the rows one behind the other, read as a memory map; no field is padded
    index.jsonl   {"key", "row", "present"} for each set of pictures, {"key", "row", "present": "", "rows"} for each text, whose rows are
                  its tokens'; written once its rows are whole and on the disk
    .lock         held by the process that adds rows

A process that is killed while it adds leaves rows that no key names; the next one writes over them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from mmre_jax import file_lock, storage
from mmre_jax.text_files import parse_json, read_json

STATES = "states"  # the field of a text's rows
ABOUT, ROWS, INDEX, LOCK = "about.json", "rows.bin", "index.jsonl", ".lock"
DTYPES = {name: np.dtype(kind) for name, kind in (("float32", np.float32), ("bfloat16", ml_dtypes.bfloat16))}

logger = logging.getLogger(__name__)


class FeatureError(ValueError):
    """Features that cannot be kept or read; names the folder, file and line."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where a set of pictures, or a text, has its features.

    row: the first one, from 0.  present: of its pictures, in the plan's order, which could be read.  rows: of a text several.
    """

    row: int
    present: tuple[bool, ...]
    rows: int = 1


Fields = Mapping[str, tuple[str, tuple[int, ...]]]  # {name: (a key of DTYPES, shape)}


class FeatureStore:
    """A folder of features; there need not be anything in it.

    Args:
      folder: on a disk.
      fields: of a row.
      made_of: what the folder's name stands for, as plain JSON values, for people.
    """

    def __init__(self, folder: pathlib.Path, fields: Fields, made_of: Mapping[str, Any]) -> None:
        self.folder = folder
        self.row = np.dtype([(name, DTYPES[kind], shape) for name, (kind, shape) in fields.items()])
        self._about = {"row": {name: [kind, list(shape)] for name, (kind, shape) in fields.items()}, "made_of": dict(made_of)}

    def index(self) -> dict[str, Entry]:
        """{key: its entry} of all that is whole.

        Raises:
          FeatureError: for a damaged line, or rows that are not there.
        """
        path = self.folder / INDEX
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []  # behind the last end of line is what was never finished
        found: dict[str, Entry] = {}
        for number, line in enumerate(lines, 1):
            value = parse_json(line.decode("utf-8", "replace"), f"{path}, line {number}", FeatureError)
            try:
                present, rows = tuple(x == "1" for x in value["present"]), int(value.get("rows", 1))
                found[value["key"]] = Entry(int(value["row"]), present, rows)
            except (KeyError, TypeError, ValueError) as error:
                raise FeatureError(f"{path}, line {number}: expected key, row and present, found {value!r:.200}") from error
        if (there := self._bytes() // self.row.itemsize) < (named := _rows(found)):
            raise FeatureError(f"{self.folder / ROWS}: has {there:,} whole rows, {INDEX} names {named:,}: remove the folder")
        return found

    def make(self) -> None:
        """Makes the folder, if it is not there.

        Raises:
          FeatureError: where it holds rows of other fields.
          OSError: naming the setting, where it cannot be written to.
        """
        path = self.folder / ABOUT
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                storage.write_bytes(path, (json.dumps(self._about, indent=2) + "\n").encode())
        except OSError as error:
            message = f"{self.folder}: features cannot be kept there ({error.strerror or error}); see data.features_folder"
            raise type(error)(error.errno, message) from error
        if (found := read_json(path, FeatureError)) is None or found.get("row") != self._about["row"]:
            raise FeatureError(f"{path}: the rows of this folder have other fields than {self._about['row']}: remove the folder")

    def check_room(self, rows: int) -> None:
        """Raises FeatureError where so many more rows do not fit on the disk."""
        needed, free = rows * self.row.itemsize, shutil.disk_usage(self.folder).free
        if needed > free:
            raise FeatureError(f"{self.folder}: the features need {told(needed)} more, and {told(free)} are free: see data.features_folder")

    @contextlib.contextmanager
    def adding(self) -> Iterator[Adder]:
        """Waits until no other process adds, and then is the one that does, for the block's duration."""
        with (self.folder / LOCK).open("a") as lock:
            if not file_lock.take(lock, self.folder, "see to it that no other run adds to it"):
                logger.info("features: another run adds to %s; waiting until it has", self.folder)
                file_lock.wait_for(lock)
            found = self.index()
            _cut_unfinished(self.folder / INDEX)
            (self.folder / ROWS).touch()
            with (self.folder / ROWS).open("r+b") as rows, (self.folder / INDEX).open("a", encoding="utf-8") as names:
                yield Adder(self.row, found, rows, names)

    def _bytes(self) -> int:
        return (self.folder / ROWS).stat().st_size if (self.folder / ROWS).is_file() else 0


class Adder:
    """Adds rows to a store. index: what is in it, with what was added."""

    def __init__(self, row: np.dtype[Any], index: dict[str, Entry], rows: Any, names: Any) -> None:
        self.index = index
        self._row, self._rows, self._names, self._next = row, rows, names, _rows(index)

    def add(self, keys: Sequence[str], present: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Adds a row for each key, which has none yet; all are on the disk when it returns.

        Args:
          present: bool [n, pictures].
          values: of each field [n, ...].
        """
        first = self._write(len(keys), values)
        self.name({key: Entry(first + n, tuple(map(bool, present[n]))) for n, key in enumerate(keys)})

    def add_texts(self, keys: Sequence[str], rows: Sequence[int], values: Mapping[str, np.ndarray]) -> None:
        """Adds so many rows for each key, which has none yet; all are on the disk when it returns.

        Args:
          values: of each field [sum of rows, ...], each key's behind the one's before.
        """
        first = self._write(sum(rows), values)
        starts = first + np.cumsum([0, *rows])
        self.name({key: Entry(int(start), (), count) for key, start, count in zip(keys, starts, rows, strict=False)})

    def _write(self, count: int, values: Mapping[str, np.ndarray]) -> int:
        """Writes rows behind those that are there, and says where the first is."""
        block = np.empty(count, self._row)
        for name in self._row.names or ():
            block[name] = values[name]
        self._rows.seek(self._next * self._row.itemsize)
        self._rows.write(block.tobytes())
        self._rows.flush()
        os.fsync(self._rows.fileno())
        self._next += count
        return self._next - count

    def name(self, entries: Mapping[str, Entry]) -> None:
        """Names rows that are there."""
        lines: list[dict[str, Any]] = []
        for key, entry in entries.items():
            more = {} if entry.rows == 1 else {"rows": entry.rows}
            lines.append({"key": key, "row": entry.row, "present": "".join("01"[x] for x in entry.present), **more})
        self._names.write("".join(json.dumps(line) + "\n" for line in lines))
        self._names.flush()
        os.fsync(self._names.fileno())
        self.index.update(entries)


class StoredFeatures:
    """Of each record of a split the features of the pictures that it is shown with, and which of them are there.

    Args:
      store: where they are.
      rows: int64 [N], or [N, K] where each picture has a row of its own.
      present: {slot name: bool [N, count]}.

    It can be sent to processes that prepare records; each opens the rows anew.
    """

    def __init__(self, store: FeatureStore, rows: np.ndarray, present: Mapping[str, np.ndarray]) -> None:
        self.rows, self.present = rows, dict(present)
        self._path, self._row = store.folder / ROWS, store.row
        self._opened: np.ndarray | None = None

    def __getitem__(self, records: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """(features, present) of a record, by number, or of several, by an array of numbers: then with a leading axis."""
        if self._opened is None:
            self._opened = np.memmap(self._path, self._row, mode="r")
        found = self._opened[self.rows[records]]
        features = {name: np.array(found[name]) for name in self._row.names or ()}
        return features, {name: present[records] for name, present in self.present.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class StoredStates:
    """Of each record of a split the states of its text.

    Args:
      store: where they are, a row of the field STATES a token or place.
      first, rows: int64 [N], where a record's rows begin, and how many they are.
      places: how many they are of every record; None where they are those of all its tokens.

    It can be sent to processes that prepare records; each opens the rows anew.
    """

    def __init__(self, store: FeatureStore, first: np.ndarray, rows: np.ndarray, places: int | None) -> None:
        self._first, self._rows, self._places = first, rows, places
        self._path, self._row = store.folder / ROWS, store.row
        self._opened: np.ndarray | None = None

    def __call__(self, records: np.ndarray, length: int) -> np.ndarray:
        """[B, K, D] at the places of records, int [B], or [B, length, D] of their tokens, padded with zeros."""
        if self._opened is None:
            self._opened = np.memmap(self._path, self._row, mode="r")
        columns = np.arange(length if self._places is None else self._places)[None]
        own = columns < self._rows[records, None]
        found = np.array(self._opened[STATES][np.where(own, self._first[records, None] + columns, 0)])
        found[~own] = 0
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def told(size: int) -> str:
    """Bytes as people read them: 8.6 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"


def _rows(index: Mapping[str, Entry]) -> int:
    return max((entry.row + entry.rows for entry in index.values()), default=0)


def _cut_unfinished(path: pathlib.Path) -> None:
    """Removes from a file of lines what is behind the last end of line."""
    if path.is_file() and not (data := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)
