"""The pictures of some records, read ahead by threads: a file that several of the records name is read once."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from mmre_jax.data.dataset import FilePictures, Pixels
from mmre_jax.data.decode import PictureError
from mmre_jax.data.pictures import PicturePlan, Slot, Source, gather, sources
from mmre_jax.records import Record

Places = tuple[tuple[tuple[Source, ...], ...], ...]
Failed = tuple[tuple[Slot, PictureError], ...]


class Part:
    """The pictures of some records, a source of pictures for them: what is asked for and not there yet is waited for.

    Args:
      records: in the order in which they will be asked for.
      pool: reads the files; those of one photo, one after the other, are one piece of work.
    """

    def __init__(self, records: Iterable[Record], pictures: FilePictures, pool: concurrent.futures.Executor) -> None:
        self.plan = pictures.plan
        groups: dict[Any, list[Record]] = {}
        for record in records:
            groups.setdefault(self._group(record), []).append(record)
        self._reading = {group: pool.submit(_read, own, pictures) for group, own in groups.items()}

    def __call__(self, record: Record) -> Pixels:
        """(pixels, present) of one of the records, as `gather` gives them."""
        return self._found(record)[0]

    def failed(self, record: Record) -> Failed:
        """Of which slots of one of the records a picture is missing or cannot be read, and why."""
        return self._found(record)[1]

    def _found(self, record: Record) -> tuple[Pixels, Failed]:
        return self._reading[self._group(record)].result()[_places(record, self.plan)]

    def _group(self, record: Record) -> Any:
        return _places(record, self.plan) if record.image is None else record.image


def _read(records: Sequence[Record], pictures: FilePictures) -> dict[Places, tuple[Pixels, Failed]]:
    """Of records that share a photo; each different set of places once."""
    opened: dict[str, Image.Image | PictureError] = {}
    found: dict[Places, tuple[Pixels, Failed]] = {}
    for record in records:
        if (places := _places(record, pictures.plan)) not in found:
            failed: list[tuple[Slot, PictureError]] = []
            found[places] = gather(record, pictures.plan, pictures.read, opened, failed, pictures.blank), tuple(failed)
    return found


def _places(record: Record, plan: PicturePlan) -> Places:
    return tuple(tuple(sources(record, slot)) for slot in plan)
