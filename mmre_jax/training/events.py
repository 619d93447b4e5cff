"""TensorBoard's event files: written as they come, and rid of what a resumed run is going to write again.

A file in a bucket, which cannot be appended to, is written on a disk, and copied whole by `flush`.

A file is a row of records: the length of an event (8 bytes, little-endian), a checksum of the length (4), the event (a protocol buffer
with a `step`), a checksum of the event (4).
"""

from __future__ import annotations

import pathlib
import struct
import time
from collections.abc import Iterator, Mapping

from mmre_jax import storage
from mmre_jax.scratch import Scratch

PREFIX = "events"
LENGTH, CHECKSUM = 8, 4


class Board:
    """Scalars of one start of a run, in an event file of their own. Errors of writing are raised where they happen."""

    def __init__(self, folder: pathlib.Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter  # imports PyTorch where there is one: for seconds, and for nothing

        storage.make_folder(folder)
        self._remote = folder if storage.is_remote(folder) else None
        # Files are named by the second: of two starts within one the second must not write over the first.
        count = len(storage.listing(folder) if self._remote else list(folder.iterdir()))
        self._scratch = Scratch() if self._remote else None
        self._folder = self._scratch.folder if self._scratch else folder
        self._writer = EventsWriter(str(self._folder / PREFIX), f".{count}")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars by name, at a step."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        row = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=row))
        self._writer.flush()

    def flush(self) -> None:
        """Copies the file to its bucket."""
        if self._remote is not None:
            storage.upload(self._folder, [path.name for path in self._folder.glob(f"{PREFIX}*")], self._remote)

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
        if self._scratch is not None:
            self._scratch.close()


def forget(folder: pathlib.Path, step: int) -> None:
    """Removes the events behind `step` from every event file of a folder, and what a crash left of an unfinished one."""
    for path in sorted(folder.glob(f"{PREFIX}.out.tfevents.*")):
        from tensorboardX.proto.event_pb2 import Event  # slow to import where there is PyTorch, which it imports

        whole = storage.read_bytes(path)
        kept = b"".join(record for record, event in _records(whole) if Event.FromString(event).step <= step)
        if kept != whole:
            storage.write_bytes(path, kept)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(record, the event in it) of each complete record."""
    start = 0
    while start + LENGTH <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        first = start + LENGTH + CHECKSUM
        end = first + length + CHECKSUM
        if end > len(data):
            return
        yield data[start:end], data[first : first + length]
        start = end
