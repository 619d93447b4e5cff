"""A picture that was given as itself, not as a file: the bytes of a file, an open file, a Pillow image or an array."""

from __future__ import annotations

import hashlib
import os
from typing import IO, Any

import numpy as np
from PIL import Image

from mmre_jax.data.decode import MAX_BYTES, PictureError, decode_picture, in_bucket, refuse_url, rgb_of

Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | np.ndarray


class Given(str):
    """What stands in the place of a picture's path (`Record.image`) where there is no file.

    As a string it is a name made of what the picture holds, for messages and to know equal pictures by; whatever reads pictures by their
    names (`datasets.read_picture`) gets the picture itself. It is decoded when it is read, as a file would be, and may be pickled.
    """

    content: bytes | tuple[Image.Image, Image.Image] | PictureError

    def __new__(cls, name: str, content: bytes | tuple[Image.Image, Image.Image] | PictureError) -> Given:
        """name: what it is called. content: a file's bytes, or the RGB images that `read` gives, as usual and `plain`, or why there is
        none."""
        made = super().__new__(cls, name)
        made.content = content
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return str(self), self.content

    def read(self, *, plain: bool = False) -> Image.Image:
        """The picture as RGB; `plain` as of `decode.read_picture`. Raises PictureError."""
        if isinstance(self.content, PictureError):
            raise self.content
        return decode_picture(self.content, self, plain=plain) if isinstance(self.content, bytes) else self.content[plain]


def given(picture: Picture | None, where: str) -> str | None:
    """What a record's `image` is for a picture in any of the ways that one can be given; None for none.

    Args:
      picture: a path on a disk or in a bucket; the bytes of a picture file, or a file open for reading bytes, which is read from where it
        stands to its end; a Pillow image, turned as its Exif says; or an array, uint8 [H, W] of greys, [H, W, 3] RGB or [H, W, 4] RGBA.
        Transparent parts are shown on white. All have the limits of files.
      where: the record, for messages.

    Raises:
      PictureError: for a URL, which is to be fetched first, an array of another kind, a file of text, too many bytes, or anything else.
        A picture that is missing or damaged raises nothing here, but when it is read.
    """
    if picture is None:
        return None
    if isinstance(picture, str | os.PathLike):
        if not in_bucket(name := os.fspath(picture)):
            refuse_url(name, where)
        return picture if isinstance(picture, Given) else name
    if isinstance(picture, Image.Image):
        return _of_image(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        return _of_bytes(bytes(picture), where)
    if callable(getattr(picture, "read", None)):
        return _of_bytes(_content(picture, where), where)
    if hasattr(picture, "__array__"):
        return _of_array(np.asarray(picture), where)
    raise PictureError(f"{where}: a picture is a path, bytes, an open file, a Pillow image or an array, found {type(picture).__name__}")


def _of_bytes(data: bytes, where: str) -> Given:
    if not data:
        raise PictureError(f"{where}: no bytes in it; an open file that was read before is at its end: seek(0)")
    if len(data) > MAX_BYTES:
        raise PictureError(f"{where}: more than {MAX_BYTES:,} bytes are not read")
    return Given(_name(data), data)


def _content(file: Any, where: str) -> bytes:
    try:
        data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # closed, or not open for reading: ValueError
        raise PictureError(f"{where}: the open file cannot be read ({error})") from error
    if not isinstance(data, bytes):
        raise PictureError(f"{where}: the open file gives {type(data).__name__}, not bytes: open it with 'rb'")
    return data


def _of_image(picture: Image.Image) -> Given:
    """At once, since the image may be changed or closed later."""
    called = f"<a Pillow image of {picture.width} x {picture.height} pixels>"
    try:
        images = rgb_of(picture, called)
    except PictureError as error:
        return Given(called, error)
    return Given(_name(b"".join(image.tobytes() for image in images), images[0].size), images)


def _of_array(pixels: np.ndarray, where: str) -> Given:
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or pixels.ndim == 3 and pixels.shape[2] in (3, 4)) or 0 in pixels.shape:
        found = f"{pixels.dtype} {list(pixels.shape)}"
        raise PictureError(f"{where}: an array of a picture is uint8 [H, W], [H, W, 3] or [H, W, 4], found {found}")
    return _of_image(Image.fromarray(pixels))


def _name(data: bytes, size: tuple[int, int] = (0, 0)) -> str:
    return f"<picture {hashlib.blake2b(data, digest_size=8, key=repr(size).encode()).hexdigest()}>"
