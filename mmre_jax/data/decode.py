"""What a picture is: one file, opened safely and decoded to RGB, or a PictureError that names the file and the reason."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 50_000_000
Image.init()  # Pillow loads its decoders late, and refuses to be told the name of one it has not loaded
# No format whose decoder starts another program (EPS runs Ghostscript).
_FORMATS = tuple(name for name in ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM") if name in Image.OPEN)
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    MemoryError,
    struct.error,
    zlib.error,
)


class PictureError(ValueError):
    """A picture that cannot be read. The message names the file and the reason."""


class MissingPicture(PictureError):
    """There is no such file."""


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], max_pixels: int) -> Iterator[Image.Image]:
    """Opens a picture, header only. Whatever is wrong with it, also inside the block, leaves as a PictureError."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise PictureError(f"{os.fspath(path)}: {width} x {height} pixels, more than {max_pixels:,} are not decoded")
            yield image
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise MissingPicture(f"{os.fspath(path)}: no such file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(f"{os.fspath(path)}: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{os.fspath(path)}: not a picture, or none of {', '.join(_FORMATS)}") from error
    except _DAMAGE as error:
        raise PictureError(f"{os.fspath(path)}: damaged picture ({error})") from error


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads a picture as RGB: first frame, turned as its EXIF orientation says, transparent parts on white.

    Args:
      path: the file.
      max_pixels: largest width x height decoded; looked up in the header before anything is decoded.

    Returns:
      The picture, mode RGB, fully in memory.

    Raises:
      MissingPicture: there is no such file.
      PictureError: not a picture, truncated, otherwise damaged, or too large.
    """
    with _opened(path, max_pixels) as image:
        image.load()
        return _rgb(ImageOps.exif_transpose(image))


def probe(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> None:
    """Raises what `read_picture` would, for less: a PNG's checksums are verified, a JPEG is decoded at an eighth of its size."""
    with _opened(path, max_pixels) as image:
        if image.format == "PNG":
            image.verify()
        else:
            image.draft("RGB", (1, 1))  # JPEG only: the smallest scale its decoder has
            image.load()


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit greys at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
