"""Which way up a picture is, from the Exif or XMP in its file. Exif is a TIFF file without pixels; its first directory says it.

TIFF 6.0, section 2, and BigTIFF; Exif 2.32, section 4.6.4 (Orientation); XMP specification, part 2 (tiff:Orientation).
"""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Iterable

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the first bytes of a TIFF file: little or big endian, TIFF or BigTIFF
ORIENTATION, XMP = 274, 700
_MOST_ENTRIES = 2**16 - 1  # as many as a TIFF can count; a BigTIFF that counts more is damaged
_IN_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\b")


def orientation(metadata: bytes) -> int | None:
    """The orientation, 1 to 8, in a block of Exif or XMP; None where there is none that can be read."""
    while metadata.startswith(b"Exif\0\0"):
        metadata = metadata[6:]
    if metadata.startswith(MAGIC):
        found = directory(metadata)
        return found.orientation if found else None
    written = _IN_XMP.search(metadata)
    return int(written[1]) if written else None


def upright(blocks: Iterable[bytes]) -> int:
    """The orientation that the blocks of a file's metadata say, Exif before XMP."""
    ordered = sorted(blocks, key=lambda block: not block.startswith((b"Exif\0\0", *MAGIC)))
    return next((found for found in map(orientation, ordered) if found), 1)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A directory's entry, as its bytes, with the byte order of the file ('<' or '>')."""

    raw: bytes
    order: str

    @property
    def tag(self) -> int:
        return struct.unpack_from(self.order + "H", self.raw)[0]

    @property
    def orientation(self) -> int | None:
        """1 to 8 where this is such an entry: one whole number of any width."""
        kind, count = struct.unpack_from(self.order + ("HI" if len(self.raw) == 12 else "HQ"), self.raw, 2)
        code = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}.get(kind)
        if self.tag != ORIENTATION or count != 1 or code is None:
            return None
        (value,) = struct.unpack_from(self.order + code, self.raw, len(self.raw) - (4 if len(self.raw) == 12 else 8))
        return value if 1 <= value <= 8 else None

    def block(self, data: bytes) -> bytes:
        """The bytes that the entry points to."""
        number = self.order + ("I" if len(self.raw) == 12 else "Q")
        count, place = struct.unpack_from(number + number[1], self.raw, 4)
        return data[place : place + count]


@dataclasses.dataclass(frozen=True)
class Directory:
    """Where the entries begin, what they are (as far as the file has them), how many there should be, and how numbers are written."""

    start: int
    entries: list[Entry]
    count: int
    short: str
    long: str

    @property
    def orientation(self) -> int | None:
        """The first orientation, 1 to 8, among the entries."""
        return next((entry.orientation for entry in self.entries if entry.orientation), None)


def directory(data: bytes) -> Directory | None:
    """The first directory of a TIFF file; None where there is none."""
    order, big = "<" if data[:2] == b"II" else ">", b"+" in data[2:4]
    short, long, width = (order + "Q", order + "Q", 20) if big else (order + "H", order + "I", 12)
    try:
        (at,) = struct.unpack_from(long, data, 8 if big else 4)
        (count,) = struct.unpack_from(short, data, min(at, len(data)))
    except struct.error:
        return None
    if count > _MOST_ENTRIES:
        return None
    start = at + struct.calcsize(short)
    places = range(start, min(start + count * width, len(data) - width + 1), width)
    return Directory(start, [Entry(data[place : place + width], order) for place in places], count, short, long)
