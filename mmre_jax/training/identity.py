"""What data a run learns from and is scored on: counts and checksums, by which a resumed run knows its data again."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.data.dataset import RecordSource
from mmre_jax.data.pictures import PicturePlan, sources
from mmre_jax.data.prepared import Contents
from mmre_jax.records import Mention, Record

ENCODER = json.JSONEncoder(separators=(",", ":"))  # which json.dumps would make anew for each record
SHORT = 4  # bytes that are kept of each record's checksum, to count the records that differ

Identity = dict[str, dict[str, Any]]


def identity(
    data: ConfigDict, records: Mapping[str, RecordSource], plan: PicturePlan, also: Callable[[Record], Any] = lambda record: None
) -> Identity:
    """{split: {count, checksum, records}}, plain JSON values.

    A record's checksum is over its words, its annotation with spans and labels, its caption if it has one, and the pictures that the plan
    has slots for: their names relative to data.root, their boxes, their sizes in bytes (None where there is no such file). Ids and scores
    are left out. Of a prepared data set it is its own copies of the pictures that count, not the files they were made of. `records` holds
    the first bytes of all records' checksums.

    Args:
      data: section of a configuration.
      records: by split.
      plan: the pictures that are looked at.
      also: what else is read of a record, as plain JSON values; nothing where it is empty.
    """
    prepared = Contents.of(pathlib.Path(data.root).expanduser()) if data.name == "prepared" else None
    root = data.root if prepared is None else prepared.root
    name = functools.lru_cache(maxsize=None)(functools.partial(_relative, _bases(root)))
    listed = storage.sizes(_files(records, plan)) if storage.is_remote(root) else {}
    size = functools.lru_cache(maxsize=None)(_size(listed) if prepared is None else lambda path: None)
    store = _store(prepared) if prepared is not None and plan else ""

    def checksum(record: Record) -> bytes:
        places = {slot.name: [[(name(p.file), size(p.file), _numbers(p.box)) for p in ps] for ps in sources(record, slot)] for slot in plan}
        text = ENCODER.encode([record.words, _annotation(record), places, *filter(None, [record.caption, also(record)])])
        return hashlib.blake2b(text.encode("ascii"), digest_size=16).digest()

    found: Identity = {}
    for split, source in records.items():
        sums = [checksum(source[index]) for index in range(len(source))]
        whole = hashlib.blake2b(store.encode() + b"".join(sums), digest_size=16).hexdigest()
        short = base64.b64encode(b"".join(x[:SHORT] for x in sums)).decode()
        found[split] = {"count": len(sums), "checksum": whole, "records": short}
    return found


def differences(saved: Identity, found: Identity, records: Mapping[str, RecordSource]) -> list[str]:
    """A line for each split that is not the saved one, naming it and how it differs; `records` are those that were found."""
    lines = []
    for split in sorted(saved.keys() | found.keys()):
        before, now = saved.get(split), found.get(split)
        if before is None or now is None:
            lines.append(f"{split}: {'not in the checkpoint' if before is None else 'not there now'}")
        elif before["checksum"] != now["checksum"]:
            lines.append(f"{split}: {_difference(before, now, records[split])}")
    return lines


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], records: RecordSource) -> str:
    first, second = (_pieces(base64.b64decode(x["records"])) for x in (before, now))
    other = [i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b]
    where = f", the first being number {other[0]} ({records[other[0]].id})" if other else ""
    if before["count"] != now["count"]:
        shared = f"of the first {min(before['count'], now['count']):,}, {len(other):,} differ{where}"
        return f"{before['count']:,} records in the checkpoint, {now['count']:,} here; {shared}"
    if other:
        return f"{len(other):,} of {now['count']:,} records differ in words, labels, spans, captions or pictures{where}"
    return "the records are the same, the prepared pictures differ"


def _pieces(data: bytes) -> list[bytes]:
    return [data[i : i + SHORT] for i in range(0, len(data), SHORT)]


def _annotation(record: Record) -> list[Any]:
    def mention(found: Mention) -> list[Any]:
        return [int(found.start), int(found.end), found.type]

    return [
        [mention(found) for found in record.mentions],
        [[mention(found.head), mention(found.tail), found.label] for found in record.relations],
        [[mention(found.mention), found.label, _numbers(found.box)] for found in record.triples],
    ]


def _numbers(box: Any) -> list[float] | None:
    return None if box is None else [float(x) for x in box]


def _files(records: Mapping[str, RecordSource], plan: PicturePlan) -> set[str]:
    every = (source[index] for source in records.values() for index in range(len(source)))
    return {place.file for record in every for slot in plan for places in sources(record, slot) for place in places}


def _size(listed: Mapping[str, int | None]) -> Callable[[str], int | None]:
    return lambda path: listed[path] if path in listed else storage.size(path)


def _bases(root: str) -> list[str]:
    """The names that the data's folder goes by."""
    if storage.is_remote(root):
        return [root.rstrip("/")]
    full = os.path.expanduser(root)
    return sorted({os.path.abspath(full), os.path.realpath(full)}) if root else []


def _relative(bases: list[str], path: str) -> str:
    """A file's name below the first folder that it lies in, '/' between its parts; as it is where it lies in none."""
    full = path if storage.is_remote(path) else os.path.abspath(path)
    for base in bases:
        if full.startswith(base + os.sep):
            return pathlib.PurePath(os.path.relpath(full, base)).as_posix()
    return path


def _store(prepared: Contents) -> str:
    """What tells one prepared set's pictures from another's: which picture is where, and the checksum that arrays were given when they were
    written. Of those in array_record files there is none, so they are read whole: of pictures as they are (raw) all have one size."""
    folder = pathlib.Path(prepared.folder)
    total = hashlib.blake2b((folder / "pictures.json").read_bytes() + prepared.checksum.encode(), digest_size=16)
    for path in sorted(path for path in (folder / "pictures").rglob("*") if "array_record" in path.name):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "blake2b").digest())
    return total.hexdigest()
