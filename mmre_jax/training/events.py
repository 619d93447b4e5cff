"""TensorBoard's event files: written as they come, and rid of what a resumed run is going to write again.

A file is a row of records: the length of an event (8 bytes, little-endian), a checksum of the length (4), the event (a protocol buffer
with a `step`), a checksum of the event (4).
"""

from __future__ import annotations

import pathlib
import struct
import time
from collections.abc import Iterator, Mapping

PREFIX = "events"
LENGTH, CHECKSUM = 8, 4


class Board:
    """Scalars of one start of a run, in an event file of their own. Errors of writing are raised where they happen."""

    def __init__(self, folder: pathlib.Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter  # imports PyTorch where there is one: for seconds, and for nothing

        folder.mkdir(parents=True, exist_ok=True)
        # Files are named by the second: of two starts within one the second must not write over the first.
        self._writer = EventsWriter(str(folder / PREFIX), f".{len(list(folder.iterdir()))}")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars by name, at a step."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        row = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=row))
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()


def forget(folder: pathlib.Path, step: int) -> None:
    """Removes the events behind `step` from every event file of a folder, and what a crash left of an unfinished one."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob(f"{PREFIX}.out.tfevents.*")):
        whole = path.read_bytes()
        kept = b"".join(record for record, event in _records(whole) if Event.FromString(event).step <= step)
        if kept != whole:
            temporary = path.with_name(f".{path.name}")
            temporary.write_bytes(kept)
            temporary.replace(path)


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
