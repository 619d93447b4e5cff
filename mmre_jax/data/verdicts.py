"""Which pictures can be read, remembered on disk, so that no file is decoded again to find out as long as it stays the same.

A JSON file for each folder of pictures, {judge, folder, files: {name: [size in bytes, time of the last write in ns, why it cannot be read
or null]}}. What was judged by other code or by another Pillow, or is not what this module writes, is judged anew.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import PIL

from mmre_jax import storage
from mmre_jax.data import decode, essentials, exif
from mmre_jax.data.decode import MissingPicture, PictureError

RACE = 2 * 10**9  # ns: a file written so shortly before may be written again without its time showing it
logger = logging.getLogger(__name__)

Entry = tuple[int, int, str | None]
Judge = Callable[[Iterable[str]], dict[str, PictureError | None]]


def judged(files: Iterable[str], judge: Judge, where: str) -> dict[str, PictureError | None]:
    """{file: why it cannot be read, None where it can}, of files on a disk; those that are not remembered are given to `judge`.

    Args:
      where: the folder in which it is remembered; '' for nowhere.

    Raises:
      StorageError: for a folder that is not on a disk.
    """
    files = list(files)
    if not where:
        return judge(files)
    store = storage.on_disk(where, "data.verdicts").expanduser()
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(os.path.dirname(os.path.abspath(file)), []).append(file)
    found: dict[str, PictureError | None] = {}
    known = {folder: _read(_place(store, folder), folder) for folder in folders}
    stamps = {file: stamp for file in files if (stamp := _stamp(file)) is not None}
    for folder, own in folders.items():
        for file in own:
            entry = known[folder].get(os.path.basename(file))
            if entry is not None and entry[:2] == stamps.get(file):
                found[file] = None if entry[2] is None else PictureError(f"{file}: {entry[2]}")
    new = judge([file for file in files if file not in found])
    for folder, own in folders.items():
        late = time.time_ns() - RACE
        learnt = {os.path.basename(file): _entry(file, stamps[file], new[file]) for file in own if file in new and file in stamps}
        learnt = {name: entry for name, entry in learnt.items() if entry is not None and entry[1] < late}
        if learnt:
            _write(_place(store, folder), folder, {**known[folder], **learnt})
    return {file: found[file] if file in found else new[file] for file in files}


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        seen = os.stat(file)
    except (OSError, ValueError):  # there is none, or no file can have that name: the judge says so
        return None
    return seen.st_size, seen.st_mtime_ns


def _entry(file: str, stamp: tuple[int, int], error: PictureError | None) -> Entry | None:
    """What is to be remembered of a file; nothing where it changed while it was judged, or went, or is told by another name."""
    if stamp != _stamp(file) or isinstance(error, MissingPicture):
        return None
    if error is None:
        return (*stamp, None)
    said, start = str(error), f"{file}: "
    return (*stamp, said.removeprefix(start)) if said.startswith(start) else None


def _place(store: pathlib.Path, folder: str) -> pathlib.Path:
    return store / f"{hashlib.blake2b(os.fsencode(folder), digest_size=16).hexdigest()}.json"


def _read(path: pathlib.Path, folder: str) -> dict[str, Entry]:
    """What is remembered of a folder; nothing of what is not as it was written, which the log tells."""
    try:
        stored = json.loads(path.read_bytes())
        if not isinstance(stored, dict) or stored.keys() != {"judge", "folder", "files"} or stored["folder"] != os.fsdecode(folder):
            raise ValueError("not such a file")
        entries = {name: _checked(entry) for name, entry in stored["files"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:  # json's and Unicode's errors are ValueErrors
        logger.warning("%s: cannot be used (%s): the pictures in %s are looked at anew", path, error, folder)
        return {}
    return entries if stored["judge"] == judge_of() else {}


def _checked(entry: Any) -> Entry:
    if not isinstance(entry, list) or [type(x) for x in entry] not in ([int, int, str], [int, int, type(None)]):
        raise ValueError(f"{entry!r:.60} is no verdict")
    return entry[0], entry[1], entry[2]


def _write(path: pathlib.Path, folder: str, entries: Mapping[str, Entry]) -> None:
    """Writes the file whole or not at all. Where that cannot be, the log says so: nothing but time is lost."""
    unfinished = path.with_suffix(f".{os.getpid()}")
    text = json.dumps({"judge": judge_of(), "folder": os.fsdecode(folder), "files": dict(sorted(entries.items()))})
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished.write_text(text, "ascii")
        unfinished.replace(path)
    except OSError as error:
        logger.warning("data.verdicts=%s: which pictures can be read is not remembered (%s)", path.parent, error.strerror or error)
        with contextlib.suppress(OSError):
            unfinished.unlink()


@functools.cache
def judge_of() -> str:
    """What tells apart the code that judges: its text, and Pillow's version."""
    total = hashlib.blake2b(PIL.__version__.encode("ascii"), digest_size=8)
    for module in (decode, essentials, exif):
        total.update(pathlib.Path(str(module.__file__)).read_bytes())
    return total.hexdigest()
