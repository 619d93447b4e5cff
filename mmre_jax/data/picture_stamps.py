"""Tells pictures apart: a short text of each picture of a record, another one where other pixels would be read.

A picture in a file is its name below the data set's folder, its size and the time it was last written (in a bucket name and size), and the
box that is cut out of it: no file is opened. One of a prepared data set is its key there, and what the prepared files are. What a data set
gives by a function of its own is known by its pixels alone: those are read.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.data import datasets
from mmre_jax.data.dataset import FilePictures, PictureSource, root_of
from mmre_jax.data.pictures import PicturePlan, Slot, Source, least_sides, sources
from mmre_jax.data.prepared import Contents, picture_key
from mmre_jax.data.readers import scenes
from mmre_jax.data.released_pictures import ReleasedPictures
from mmre_jax.data.source import PreparedPictures
from mmre_jax.records import Record

ABSENT = ""  # where a record has no picture

Stamps = list[str]  # of a record's pictures, in the order of the plan and its slots' counts


def stamps(records: Sequence[Record | None], pictures: PictureSource, plan: PicturePlan, data: ConfigDict) -> list[Stamps]:
    """The stamps of each record's pictures, as many as the plan has places; of a None, which is shown no picture, all ABSENT.

    Args:
      pictures: where they are read from under that plan.
      data: section of a configuration: where the records come from.
    """
    stamp = _stamp_of(records, pictures, plan, data)
    found: dict[int, Stamps] = {}  # of several that are shown one record's pictures, it is looked at once
    for record in records:
        if id(record) not in found:
            found[id(record)] = [ABSENT] * sum(slot.count for slot in plan) if record is None else stamp(record)
    return [found[id(record)] for record in records]


def _stamp_of(records: Sequence[Record | None], pictures: PictureSource, plan: PicturePlan, data: ConfigDict) -> Callable[[Record], Stamps]:
    """What gives the stamps of a record that there is."""
    if isinstance(pictures, PreparedPictures):
        contents = Contents.of(root_of(data))
        made = _made(pathlib.Path(contents.folder))
        return lambda record: _each(record, plan, lambda places, slot: f"{made}:{picture_key(places, slot, contents.root)}")
    if not isinstance(pictures, (FilePictures, ReleasedPictures)) or pictures.read not in READERS:
        return lambda record: _of_pixels(pictures, plan, record)
    name, how = _namer(data.root), READERS[pictures.read]
    every = {place.file for r in records if r is not None for slot in plan for places in sources(r, slot) for place in places}
    known = storage.sizes(filter(storage.is_remote, every))
    written = functools.lru_cache(maxsize=None)(lambda file: f"{known[file]}" if file in known else size_and_time(file))

    def of_places(places: Sequence[Source], slot: Slot) -> str:
        blank = "blank:" if pictures.blank and slot.source != "photo" else ""  # what a missing one is shown as
        return f"{blank}{how}:{slot.resize}{slot.side}:" + "|".join(f"{name(p.file)},{written(p.file)},{p.box}" for p in places)

    if isinstance(pictures, FilePictures) and pictures.draft is None:
        return lambda record: _each(record, plan, of_places)
    if isinstance(pictures, FilePictures):  # what is decoded of a file depends on all pictures that the record has of it

        def drafted(record: Record) -> Stamps:
            least = least_sides(record, plan)
            return _each(record, plan, lambda places, slot: f"{of_places(places, slot)}|{[least[p.file] for p in places]}")

        return drafted

    def with_stand_in(record: Record) -> Stamps:
        found, stand_in = _each(record, plan, of_places), pictures.stand_in(record)
        return found if stand_in is None else [f"{x}|{name(str(stand_in))},{size_and_time(str(stand_in))}" if x else x for x in found]

    return with_stand_in


READERS = {datasets.read_picture: "turned", datasets.read_released: "plain", scenes.picture: "scenes"}  # of files and keys, by what they do


def _each(record: Record, plan: PicturePlan, stamp: Callable[[Sequence[Source], Slot], str]) -> Stamps:
    """A record's stamps, ABSENT behind those of a slot that it has fewer pictures of."""
    found = []
    for slot in plan:
        own = [stamp(places, slot) if places else ABSENT for places in sources(record, slot)]
        found += own + [ABSENT] * (slot.count - len(own))
    return found


def _of_pixels(pictures: PictureSource, plan: PicturePlan, record: Record) -> Stamps:
    pixels, present = pictures(record)
    return [
        hashlib.blake2b(pixels[slot.name][k].tobytes(), digest_size=16).hexdigest() if present[slot.name][k] else ABSENT
        for slot in plan
        for k in range(slot.count)
    ]


def size_and_time(file: str) -> str:
    """A file's size and when it was last written; a key of `scenes`, which says all, as it is; '-' where there is no such file."""
    if file.startswith(scenes.PREFIX):
        return ""
    try:
        found = os.stat(file)
    except (OSError, ValueError):  # a name that no file can have is a ValueError
        return "-"
    return f"{found.st_size},{found.st_mtime_ns}"


def _namer(root: str) -> Callable[[str], str]:
    """What names a file below the data set's folder as it is called there; another by its whole path."""
    base = root.rstrip("/") if storage.is_remote(root) else os.path.abspath(os.path.expanduser(root)).rstrip("/")

    def name(file: str) -> str:
        full = file if storage.is_remote(file) or file.startswith(scenes.PREFIX) else os.path.abspath(file)
        return full.removeprefix(f"{base}/") if root else full

    return name


def _made(folder: pathlib.Path) -> str:
    """What tells one prepared data set's pictures from another's: what it says of itself, and its files of pictures."""
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and _holds_pictures(path.relative_to(folder))):
        found = path.stat()
        total.update(f"{path.relative_to(folder)},{found.st_size},{found.st_mtime_ns};".encode())
    return total.hexdigest()


def _holds_pictures(path: pathlib.Path) -> bool:
    return path.parts[0].startswith("pictures") or path.name == "prepare.json"
