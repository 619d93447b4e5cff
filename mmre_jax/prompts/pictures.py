"""Pictures as prompts hold them: JPEG of a bounded size, as data URLs."""

from __future__ import annotations

import base64
import functools
import io

from ml_collections import ConfigDict

from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet, FilePictures
from mmre_jax.data.decode import MissingPicture, PictureError
from mmre_jax.data.pictures import Reader

SHOWN, NONE, MISSING, DAMAGED, LEFT_OUT = "shown", "none", "missing", "damaged", "left out"
STATES = (SHOWN, NONE, MISSING, DAMAGED, LEFT_OUT)  # what becomes of a record's picture; none: it has none; missing: there is no such file
_KEPT = 16  # records that stand beside each other often share a picture


def reader(data: ConfigDict, dataset: DataSet | None = None) -> Reader:
    """What reads a data set's pictures by their names.

    Raises:
      ValueError: for a data set whose pictures are no files, but arrays of one size.
    """
    opened = datasets.find(data, dataset).pictures
    source = None if opened is None else opened(data, ())
    if source is not None and not isinstance(source, FilePictures):
        raise ValueError(f"data.name={data.name!r} has its pictures as arrays: give the data set that it was made of, or --pictures=none")
    return datasets.read_picture if source is None else source.read


class Pictures:
    """The data URLs of pictures.

    Args:
      side: pixels of the longer side that a picture is brought down to where it is longer; never enlarged.
      quality: of the JPEG, 1 to 95.
      read: a picture by its name.
    """

    def __init__(self, side: int, quality: int, read: Reader = datasets.read_picture) -> None:
        self._side, self._quality, self._read = side, quality, read
        self._made = functools.lru_cache(_KEPT)(self._make)

    def __call__(self, name: str | None) -> tuple[str, str]:
        """(the data URL of a picture, '' where there is none to be shown; one of STATES).

        Raises:
          StorageError: a bucket that cannot be reached.
        """
        return ("", NONE) if name is None else self._made(name)

    def _make(self, name: str) -> tuple[str, str]:
        try:
            picture = self._read(name)
        except MissingPicture:
            return "", MISSING
        except PictureError:
            return "", DAMAGED
        if max(picture.size) > self._side:
            picture = picture.copy()
            picture.thumbnail((self._side, self._side))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=self._quality)
        return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}", SHOWN
