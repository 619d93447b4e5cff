"""A picture file without its metadata: what its pixels need, and which way up they are.

A decoder that meets damage in a comment, a thumbnail's directory or a colour profile may refuse pixels that are good; where in the file
the damage stands, and whether the decoder has got there yet, then decides what a picture is. So the decoder is never shown any of it.
Text and profiles are not unpacked but for one that may say the orientation, and of that the first mebibyte.

Formats: PNG specification, third edition (W3C 2025); ITU-T T.81 (JPEG); RFC 9649 (WebP); TIFF 6.0 and BigTIFF.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import zlib
from collections.abc import Iterator

from mmre_jax.data import exif

_UNPACKED = 2**20
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# First column and row, and the steps from there, of the seven passes of an interlaced PNG.
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
# What TIFF pixels need: sizes, bits and samples, compression and its tables, strips and tiles, palette, meaning of the samples.
_TIFF_NEEDED = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
_TIFF_NEEDED |= {332, 333, 334, 336, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 50674}


@dataclasses.dataclass(frozen=True)
class Essentials:
    """What there is to decode.

    format: 'PNG', 'JPEG', 'WEBP' or 'TIFF' by the file's first bytes; None for any other, which is left as it is.
    data: a file of that format that has the same pixels, and no metadata.
    orientation: 1 to 8 as Exif counts them; 1, upright, where the file does not say, or says what cannot be read.
    """

    format: str | None
    data: bytes
    orientation: int = 1


def essentials(data: bytes) -> Essentials:
    """Takes a picture file apart. Raises nothing: a file that is damaged beyond that gives what its decoder will refuse."""
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(exif.MAGIC):
        return _tiff(data)
    return Essentials(None, data)


def restarts(data: bytes) -> int:
    """The number, 0 to 7, of the restart marker that would come next in a JPEG's last scan."""
    found = re.findall(rb"\xff([\xd0-\xd7\xda])", data)
    return (found[-1][0] - 0xD0 + 1) % 8 if found and found[-1] != b"\xda" else 0


def rows_end_early(data: bytes) -> bool:
    """Whether the stream of a PNG without metadata ends, as a stream should, before it has a byte of every row."""
    header, streams = b"", []
    for kind, body, _ in _chunks(data):
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            streams.append(body)
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", header)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    lines = [(len(range(x, width, dx)), len(range(y, height, dy))) for x, y, dx, dy in (_ADAM7 if interlaced else [(0, 0, 1, 1)])]
    missing = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in lines if columns)
    stream = zlib.decompressobj()
    for body in streams:
        while body and missing > 0:
            missing -= len(stream.decompress(body, _UNPACKED))
            body = stream.unconsumed_tail
    return missing > 0


def all_scans(data: bytes) -> bool:
    """Whether a JPEG has begun the last scan of each of its coefficients: of a progressive one all bits, of others all components."""
    missing: dict[int, list[int]] = {}
    for marker, body, _ in _segments(data):
        if marker in (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)) and len(body) >= 6:
            missing = {component: [1] * 64 for component in body[6::3]}
        elif marker == 0xDA and body and len(body) == 2 * body[0] + 4:
            first, last, bits = body[-3:]
            for component in body[1:-3:2]:
                missing.get(component, [])[first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)
    return bool(missing) and not any(map(any, missing.values()))


# PNG


def _png(data: bytes) -> Essentials:
    kept, blocks, header = [_PNG], [], b""
    for kind, body, whole in _chunks(data):
        if kind == b"IHDR" and not header:
            header = body
            kept.append(whole)  # with its own checksum, as the palette: the decoder looks at it
        elif kind == b"PLTE":
            kept.append(whole)
        elif kind == b"tRNS":
            kept += [_chunk(kind, transparent) for transparent in _transparency(header, body)]
        elif kind == b"IDAT":
            kept.append(_chunk(kind, body))  # the stream inside has a checksum of its own
        elif kind == b"eXIf":
            blocks.append(body)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            blocks += _text(kind, body)
    return Essentials("PNG", b"".join(kept) + _PNG_END, exif.upright(blocks))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(name, content, the whole of it) of a PNG's chunks, up to its end or to where it is broken; the last may be cut short."""
    at = len(_PNG)
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8]).isalpha() and kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, at)
        yield kind, data[at + 8 : at + 8 + length], data[at : at + 12 + length]
        at += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _transparency(header: bytes, body: bytes) -> list[bytes]:
    """A transparency chunk's content, none where it is too short. The one colour is given in the file's bits, pixels come in 8."""
    depth, colour = header[8:10] if len(header) >= 10 else (8, 3)
    if colour == 3:
        return [body] if body else []
    if depth not in (1, 2, 4, 8, 16) or len(body) < {0: 2, 2: 6}.get(colour, len(body) + 1):
        return []
    if colour == 2:
        return [b"".join(b"\0" + body[i : i + 1] for i in ((0, 2, 4) if depth == 16 else (1, 3, 5)))]
    largest = 2**depth - 1
    return [body if depth == 16 else struct.pack(">H", (struct.unpack_from(">H", body)[0] & largest) * 255 // largest)]


def _text(kind: bytes, body: bytes) -> list[bytes]:
    """What a text chunk says that may hold an orientation: XMP, or Exif in hexadecimal as ImageMagick writes it."""
    key, _, value = body.partition(b"\0")
    if key not in (b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1"):
        return []
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, value = value[:1] == b"\1", b"\0".join(value[2:].split(b"\0")[2:])
    elif packed:
        value = value[1:]
    if packed:
        try:
            value = zlib.decompressobj().decompress(value, _UNPACKED)
        except zlib.error:
            return []
    if key.startswith(b"XML"):
        return [value[:_UNPACKED]]
    digits = re.sub(rb"[^0-9a-fA-F]", b"", b"".join(value[:_UNPACKED].split(b"\n")[3:]))
    return [bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))]


# JPEG


def _segments(data: bytes) -> Iterator[tuple[int, bytes, slice]]:
    """(marker, content, place) of each segment of a JPEG that has a content, over the scans to the end of the file or of the picture."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xD9:
            return
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2  # filling, a byte of a scan, or a marker that stands alone
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + max(length, 2)
        yield marker, data[at + 4 : end], slice(at, end)
        at = end


def _jpeg(data: bytes) -> Essentials:
    kept, blocks = [data[:2]], []
    for marker, body, place in _segments(data):
        if marker == 0xDA:
            kept.append(data[place.start :])
            break
        if marker == 0xE1:
            blocks.append(body)
        # The two application segments that say which colours the components are.
        coloured = (marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) >= 14) or (
            marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12
        )
        if coloured or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[place])
    return Essentials("JPEG", b"".join(kept), exif.upright(blocks))


# WebP


def _webp(data: bytes) -> Essentials:
    kept, blocks, at = [], [], 12
    while at + 8 <= len(data):
        kind, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        body = data[at + 8 : at + 8 + length]
        if kind in (b"EXIF", b"XMP "):
            blocks.append(body)
        elif kind in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            if len(body) < length and not any(part.startswith(b"ANMF") for part in kept):
                return Essentials("WEBP", data)  # cut short, which the decoder sees
            if kind == b"VP8X" and body:
                body = bytes([body[0] & 0b00010010]) + body[1:]  # alpha and animation; no longer profile, Exif, XMP
            if kind != b"ANMF" or not any(part.startswith(b"ANMF") for part in kept):  # the first frame is the picture
                kept.append(kind + struct.pack("<I", length) + body + b"\0" * (length % 2))
        at += 8 + length + length % 2
    content = b"WEBP" + b"".join(kept)
    return Essentials("WEBP", b"RIFF" + struct.pack("<I", len(content)) + content, exif.upright(blocks))


# TIFF


def _tiff(data: bytes) -> Essentials:
    directory = exif.directory(data)
    if directory is None or len(directory.entries) < directory.count:  # which of what the pixels need is lost cannot be known
        return Essentials("TIFF", data[:4])
    # In its place: bytes added behind would be taken for the rest of pixels that are cut short.
    kept = [entry.raw for entry in directory.entries if entry.tag in _TIFF_NEEDED]
    count = struct.pack(directory.short, len(kept))
    written = count + b"".join(kept) + struct.pack(directory.long, 0)
    start = directory.start - len(count)
    xmp = (entry.block(data) for entry in directory.entries if entry.tag == exif.XMP)
    return Essentials("TIFF", data[:start] + written + data[start + len(written) :], directory.orientation or exif.upright(xmp))
