"""Picture files taken apart and put together again, byte by byte, so that a test can damage one part of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(width=40, height=30, seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(width=48, height=40, seed=0):
    """A picture that lossy formats keep: a few colours, blended."""
    small = Image.fromarray(noise(6, 5, seed))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return str(path)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, body, crc=None, length=None):
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body) if length is None else length) + kind + body + struct.pack(">I", crc)


END = chunk(b"IEND", b"")


def header(width, height, depth=8, colour=2, interlaced=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def png(array, before=b"", after=b"", end=END):
    """A PNG of RGB pixels, with whole chunks `before` and `after` the pixels."""
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return SIGNATURE + header(array.shape[1], array.shape[0]) + before + pixels + after + end


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(jpeg, *segments):
    """A JPEG with these right behind its start."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def exif(value, order="<", kind=3, count=1, tag=274):
    """Exif of one entry: the orientation."""
    code = {1: "B", 2: "B", 3: "H", 4: "I", 8: "h", 9: "i"}[kind]
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entry = struct.pack(order + "HHI", tag, kind, count) + struct.pack(order + code, value).ljust(4, b"\0")
    return start + struct.pack(order + "H", 1) + entry + bytes(4)


def riff(*chunks):
    """A WebP of (name, content) chunks."""
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(array, entries=(), order="<"):
    """An uncompressed TIFF of RGB pixels; `entries` (tag, type, count, value as 4 bytes) stand among those that pixels need."""
    height, width, _ = array.shape
    word = lambda value: struct.pack(order + "I", value)  # noqa: E731
    short = lambda value: struct.pack(order + "H", value) + b"\0\0"  # noqa: E731
    bits = len(array.tobytes()) + 8
    needed = [(256, 4, 1, word(width)), (257, 4, 1, word(height)), (258, 3, 3, word(bits)), (259, 3, 1, short(1)), (262, 3, 1, short(2))]
    needed += [(273, 4, 1, word(8)), (277, 3, 1, short(3)), (278, 4, 1, word(height)), (279, 4, 1, word(array.size))]
    rows = sorted([*needed, *entries])
    directory = struct.pack(order + "H", len(rows)) + b"".join(struct.pack(order + "HHI", *row[:3]) + row[3] for row in rows) + bytes(4)
    start = (b"II*\0" if order == "<" else b"MM\0*") + word(bits + 6 + array.size % 2)
    return start + array.tobytes() + struct.pack(order + "HHH", 8, 8, 8) + b"\0" * (array.size % 2) + directory
