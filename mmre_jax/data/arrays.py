"""Pictures of one side as one array in a .npy file, uint8 [N, side, side, 3], which is mapped into memory, not read.

Row 0 is black and stands for a picture that is not there, so that a batch's pictures, absent ones included, are one gather.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from types import TracebackType
from typing import BinaryIO

import numpy as np

from mmre_jax.records import RecordError

ABSENT = 0  # the row of a picture that is not there
_LARGEST = 10_000  # bytes of a header; numpy's own limit


class PictureFile:
    """Writes such a file row by row. How many rows there are is written into its header when it is closed.

    Raises:
      OSError: the disk is full.
    """

    def __init__(self, path: pathlib.Path, side: int) -> None:
        self._shape, self._rows, self._digest = (side, side, 3), 0, hashlib.blake2b(digest_size=16)
        self._file: BinaryIO = path.open("xb")
        self._header = self._write_header()
        self.append(np.zeros(self._shape, np.uint8))

    def append(self, pixels: np.ndarray) -> int:
        """Adds a picture, uint8 [side, side, 3]. Returns its row."""
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            raise ValueError(f"a picture of this file is uint8 {self._shape}, found {pixels.dtype} {pixels.shape}")
        data = np.ascontiguousarray(pixels).data
        self._file.write(data)
        self._digest.update(data)
        self._rows += 1
        return self._rows - 1

    @property
    def checksum(self) -> str:
        """Of all rows so far, in hexadecimal."""
        return self._digest.hexdigest()

    def _write_header(self) -> int:
        """The header's length, which does not depend on how many rows there are: numpy leaves room for that number."""
        about = {"descr": "|u1", "fortran_order": False, "shape": (self._rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, about)
        return self._file.tell()

    def __enter__(self) -> PictureFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._file:
            if error is None:
                self._file.seek(0)
                if self._write_header() != self._header:
                    raise RuntimeError(f"{self._file.name}: numpy {np.__version__} leaves no room in its header for {self._rows} rows")


def open_pictures(path: pathlib.Path, side: int, error: type[ValueError] = RecordError) -> np.ndarray:
    """The pictures of such a file, uint8 [N, side, side, 3], read-only: of it only the pages that are looked at are in memory.

    Raises:
      RecordError, or what `error` says: the file is missing, is no such array, or has another size than its header says.
    """
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version of the format")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_LARGEST)
            start, size = file.tell(), os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as problem:
        raise error(f"{path}: no array of pictures ({getattr(problem, 'strerror', None) or problem})") from problem
    rows = shape[0] if shape else 0
    if (*shape, dtype, fortran) != (rows, side, side, 3, np.dtype(np.uint8), False) or rows < 1:
        raise error(f"{path}: expected uint8 [N, {side}, {side}, 3], row by row, found {dtype} {list(shape)}")
    if size != (wanted := start + rows * side * side * 3):
        raise error(f"{path}: {size:,} bytes, where {rows:,} pictures of {side} pixels have {wanted:,}: prepare the data set again")
    return np.asarray(np.memmap(path, np.uint8, "r", start, shape))
