"""What a picture is: one file, opened safely and decoded to RGB, or a PictureError that names the file and the reason.

`read_picture` alone decides, by reading: what counts pictures before a run, what trains on them and what extracts from them all call it.
A cheaper look cannot know: where a JPEG is cut short shows at its last row. A photo of 800 x 600 pixels takes 3 ms of one core, so that
the 9,201 of MNRE take some 15 s on two; an eighth of the size (a JPEG's draft mode) would save a third of that.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from mmre_jax import storage
from mmre_jax.data.essentials import Essentials, all_scans, essentials, restarts, rows_end_early
from mmre_jax.text_files import shown

MAX_PIXELS = 50_000_000
MAX_BYTES = 2**29  # more than any picture of so many pixels needs
Image.init()  # Pillow loads its decoders late, and refuses to be told the name of one it has not loaded
# No format whose decoder starts another program (EPS runs Ghostscript).
_FORMATS = tuple(name for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM") if name in Image.OPEN)
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    ZeroDivisionError,
    MemoryError,
    Warning,  # where the user makes errors of them
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
)
_URL = re.compile(r"\s*([a-z][a-z0-9+.-]+:/|data:)", re.IGNORECASE)  # one slash, which is what pathlib leaves; C:/ is a drive
_BEHIND = re.compile(rf"(?:.*?[/\\])?{_URL.pattern}", re.IGNORECASE | re.DOTALL)
_BUCKETS = tuple(f"{scheme}://" for scheme in storage.CLIENTS)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_BITS = 258
_ORIENTATION = 274


class PictureError(ValueError):
    """A picture that cannot be read. The message names the file and the reason."""


class MissingPicture(PictureError):
    """There is no such file."""


def refuse_url(name: str | os.PathLike[str], where: str = "", *, behind: bool = False) -> None:
    """Raises PictureError, which begins with `where`, if a picture's name is an address in a network, or a picture itself ("data:").

    Args:
      behind: also if such a one stands behind a folder's name, as where a data set's photos are FOLDER/ID, and the ids are addresses.
    """
    text = os.fspath(name)
    found = (_BEHIND if behind else _URL).match(text) if isinstance(text, str) else None
    if found:
        raise PictureError(
            f"{where}{': ' if where else ''}{text[found.start(1) :][:60]!r} is a URL, and pictures are read from files: fetch it first"
        )


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether a picture's path is an address in a bucket. A name that comes from data never becomes one (paths.inside)."""
    return os.fspath(path).startswith(_BUCKETS)


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, plain: bool = False, least: int = 0) -> Image.Image:
    """Reads a picture as RGB: first frame, turned as its Exif or XMP says, transparent parts on white.

    Metadata decides nothing else: where it is damaged, too large or not there (a missing end marker), pixels that decode are used, unturned
    if the orientation cannot be read. Colour profiles are not applied. Greys of 16 bits (12 in TIFF) come to 8 by their full range;
    32-bit integers by the picture's own smallest and largest value, as do floats, but for floats within [0, 1], which are multiplied
    by 255; a constant picture without a range is mid-grey. NaN and infinite pixels are refused.

    Args:
      path: the file, on a disk or in a bucket.
      max_pixels: largest width x height decoded; looked up in the header before anything is decoded.
      plain: as Pillow converts to RGB, and the released code reads: not turned, transparency dropped, greys above 255 clipped.
      least: decode a JPEG at a half, a quarter or an eighth of its size, where both sides keep that many pixels: faster, and other pixels
        than all of it scaled down (Pillow's draft mode). 0: as it is.

    Returns:
      The picture, mode RGB, fully in memory.

    Raises:
      MissingPicture: there is no such file.
      StorageError: the bucket cannot be reached.
      PictureError: a URL but of a bucket, not a picture, truncated, otherwise damaged, or too large.
    """
    return decode_picture(_contents(path), path, max_pixels=max_pixels, plain=plain, least=least)


def decode_picture(
    data: bytes, name: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, plain: bool = False, least: int = 0
) -> Image.Image:
    """`read_picture` of the bytes of a file, which messages call `name`. Raises PictureError."""
    parts = essentials(data)
    with _named(name, parts):
        if plain:
            return _decoded(parts, max_pixels, least).convert("RGB")
        image = _rgb(_decoded(parts, max_pixels, least))
        turn = _TURNS.get(parts.orientation)
        return image if turn is None else image.transpose(turn)


def rgb_of(image: Image.Image, name: str, *, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, Image.Image]:
    """A Pillow image as `read_picture` gives one of a file, and as it does `plain`; never the image itself.

    Raises:
      PictureError: it calls the image `name`; too large, or yet to be loaded and damaged.
    """
    with _named(name, Essentials(None, b"")):
        _check_size(image, max_pixels)
        image.load()
        plain, found = image.convert("RGB"), _rgb(image)
        turn = None
        with contextlib.suppress(*_DAMAGE):  # in its Exif: unturned, as a file
            turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        return (plain if found is image else found) if turn is None else found.transpose(turn), plain


def read_draft(path: str | os.PathLike[str], least: int) -> Image.Image:
    """`read_picture`, of a JPEG no more than `least` asks for."""
    return read_picture(path, least=least)


def _contents(path: str | os.PathLike[str]) -> bytes:
    if in_bucket(path):
        return _object(path)
    refuse_url(path)
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
            raise PictureError(f"{shown(path)}: not a file")
        if found.st_size > MAX_BYTES:
            raise PictureError(f"{shown(path)}: {found.st_size:,} bytes, more than {MAX_BYTES:,} are not read")
        with open(path, "rb") as file:
            return file.read(found.st_size)
    except FileNotFoundError as error:
        raise MissingPicture(f"{shown(path)}: no such file") from error
    except PictureError:
        raise
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        raise PictureError(f"{shown(path)}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _object(path: str | os.PathLike[str]) -> bytes:
    """`_contents` in a bucket. One that cannot be reached is no picture's fault: nothing is masked for it, the error ends the run."""
    try:
        data = storage.read_bytes(path, MAX_BYTES + 1)  # one request: asking for the size would be a second
    except FileNotFoundError as error:
        raise MissingPicture(f"{shown(path)}: no such file") from error
    if len(data) > MAX_BYTES:
        raise PictureError(f"{shown(path)}: more than {MAX_BYTES:,} bytes are not read")
    return data


@contextlib.contextmanager
def _named(path: str | os.PathLike[str], parts: Essentials) -> Iterator[None]:
    """Whatever is wrong with a picture leaves the block as a PictureError that names the file."""
    try:
        yield
    except Image.UnidentifiedImageError as error:
        if parts.format in _FORMATS:
            raise PictureError(f"{shown(path)}: damaged picture (begins as {parts.format}, and has no header of it)") from error
        raise PictureError(f"{shown(path)}: not a picture, or none of {', '.join(_FORMATS)}") from error
    except _DAMAGE as error:
        text = str(error) if isinstance(error, _TooLarge) else f"damaged picture ({error})"
        raise PictureError(f"{shown(path)}: {text}") from error


class _TooLarge(ValueError):
    pass


def _decoded(parts: Essentials, max_pixels: int, least: int) -> Image.Image:
    """The pixels, in the mode of the file. Raises one of _DAMAGE."""
    try:
        image = _loaded(parts.data, max_pixels, least)
    except OSError:
        if parts.format != "JPEG" or not all_scans(parts.data):
            raise
        return _jpeg_without_end(parts.data.removesuffix(b"\xff"), max_pixels, least)
    # Pillow leaves rows black of which there is nothing. Black rows are rare, so that the second look costs little.
    last_row = image.crop((0, image.height - 1, *image.size))
    if parts.format == "PNG" and ("interlace" in image.info or not any(last_row.tobytes())) and rows_end_early(parts.data):
        raise ValueError("image data ends before the last row")
    return image


def _jpeg_without_end(data: bytes, max_pixels: int, least: int) -> Image.Image:
    """Decodes a JPEG that has all its scans, and no end marker, for which the decoder waits.

    All of the last scan is there if the pixels do not depend on what would follow: nothing, either of two runs of bits that disagree in
    each bit, or the next part between restart markers. Raises ValueError where they do.
    """
    restart = bytes([0xFF, 0xD0 + restarts(data)])
    images = [_loaded(data + more + b"\xff\xd9", max_pixels, least) for more in (b"", b"\x55" * 64, b"\xaa" * 64, restart + b"\x55" * 64)]
    if any(image.tobytes() != images[0].tobytes() for image in images[1:]):
        raise ValueError("image data is truncated")
    return images[0]


def _loaded(data: bytes, max_pixels: int, least: int) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _check_size(image, max_pixels)
        if least:
            image.draft(None, (least, least))  # of formats other than JPEG it does nothing
        image.load()
        return image


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if not width * height:
        raise ValueError(f"{width} x {height} pixels")
    if width * height > max_pixels:
        raise _TooLarge(f"{width} x {height} pixels, more than {max_pixels:,} are not decoded")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # whose greys Pillow brings to 16 bits
        return _grey(_sixteen_bits(image))
    if image.mode in ("I", "F"):
        return _grey(_own_range(np.asarray(image, np.float64), image.mode == "F"))
    if image.mode == "LAB":
        return ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it, at half of what decoding costs


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _sixteen_bits(image: Image.Image) -> np.ndarray:
    """The high 8 bits, as Pillow takes them of 16-bit colours; it would clip greys at 255."""
    values = np.asarray(image)
    bits = max(image.tag_v2.get(_TIFF_BITS, (16,))) if image.format == "TIFF" else 16
    transparent = image.info.get("transparency")
    greys = values >> max(bits - 8, 0)
    return greys if transparent is None else np.where(values == transparent, 255, greys)


def _own_range(values: np.ndarray, floats: bool) -> np.ndarray:
    """Values without a defined range, brought to [0, 255]; see `read_picture`."""
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():  # NaN, if any is
        raise ValueError("pixels that are NaN or infinite")
    if floats and low >= 0 and high <= 1:
        return np.rint(values * 255)
    if low == high:
        return np.full(values.shape, 128)
    return np.rint((values - low) / (high - low) * 255)
