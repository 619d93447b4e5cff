"""Dictionaries saved by `torch.save`, read without torch and without running what is in them.

A pickle can name any function and have it called while it is read. Plain dictionaries of numbers, strings, lists and tuples never
need that, so every such name is refused here, but for those of NumPy's numbers, which something of our own stands in for.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Hashable
from typing import Any, NoReturn

from mmre_jax.data import numpy_pickle
from mmre_jax.text_files import shown

MAX_BYTES = 1 << 28
MAX_ITEMS = 1 << 24
_POINTER = b"version https://git-lfs.github.com/spec/"  # first line of what Git has of a file that Git LFS keeps elsewhere
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of the files torch wrote before 1.6
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)


class PickleError(ValueError):
    """A file that is not a plain dictionary saved by torch. The message names the file."""


def is_lfs_pointer(path: str | os.PathLike[str]) -> bool:
    """Whether a file is the few lines that stand in a Git repository for one that Git LFS keeps; False for what cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def lfs_message(path: str | os.PathLike[str]) -> str:
    """What to say of a pointer."""
    return f"{os.fspath(path)} is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`, or download it"


class _DataOnly(pickle.Unpickler):
    """Unpickles Python literals only, and NumPy's numbers as such."""

    def find_class(self, module: str, name: str) -> Any:
        if (known := numpy_pickle.replacement(module, name)) is not None:
            return known
        raise PickleError(f"names {shown(f'{module}.{name}')}; only plain dictionaries of numbers, strings, lists and tuples are read")

    def persistent_load(self, pid: object) -> NoReturn:
        raise PickleError("holds a tensor; only plain dictionaries of numbers, strings, lists and tuples are read")


def read_dict(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[Hashable, Any]:
    """Reads a dictionary saved by `torch.save` (a zip archive, or the older plain pickle) or by `pickle.dump`.

    Args:
      path: the .pth file.
      max_bytes: largest uncompressed pickle accepted, in bytes.

    Returns:
      The dictionary, holding Python numbers, strings, lists, tuples and dictionaries; NumPy's numbers are Python's, its arrays lists.

    Raises:
      FileNotFoundError: there is no such file.
      PickleError: the file is damaged, too large, names code to be run, holds tensors, or holds something else than a dictionary.
    """
    path = os.fspath(path)
    if is_lfs_pointer(path):
        raise PickleError(lfs_message(path))
    try:
        value = _load(io.BytesIO(_pickled_bytes(path, max_bytes)))
        if (count := numpy_pickle.items(value, {})) > MAX_ITEMS:
            raise PickleError(f"grows to {count:,} items, since its parts stand in one another; more than {MAX_ITEMS:,} are not read")
        value = numpy_pickle.as_lists(value)
    except PickleError as error:
        raise PickleError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise PickleError(f"{path}: damaged pickle ({type(error).__name__}: {shown(error)})") from error
    if not isinstance(value, dict):
        raise PickleError(f"{path}: expected a dictionary, found {type(value).__name__}")
    return value


def _load(stream: io.BytesIO) -> object:
    value = _DataOnly(stream).load()
    if value == _LEGACY_MAGIC:
        _DataOnly(stream).load()  # protocol version
        _DataOnly(stream).load()  # byte order and type sizes of the writing machine
        value = _DataOnly(stream).load()
    return value


def _pickled_bytes(path: str, max_bytes: int) -> bytes:
    """The pickle inside `path`, never more than `max_bytes` of it, whatever sizes the archive claims."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                raise PickleError("damaged zip archive")
            file.seek(0)
            data = file.read(max_bytes + 1)
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
                if len(names) != 1:
                    raise PickleError(f"expected one data.pkl in the archive, found {len(names)}")
                with archive.open(names[0]) as file:
                    data = file.read(max_bytes + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise PickleError(f"damaged zip archive ({shown(error)})") from error
    if len(data) > max_bytes:
        raise PickleError(f"the uncompressed pickle is larger than {max_bytes:,} bytes")
    return data
