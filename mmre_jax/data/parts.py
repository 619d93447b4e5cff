"""The pictures of many records, a part of the records after the other: no file is read twice, and while one part is worked on the next one
is read."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from PIL import Image

from mmre_jax.data.dataset import FilePictures, Pixels
from mmre_jax.data.decode import PictureError
from mmre_jax.data.pictures import PicturePlan, Slot, Source, gather, sources
from mmre_jax.records import Record

Places = tuple[tuple[tuple[Source, ...], ...], ...]
Failed = tuple[tuple[Slot, PictureError], ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """Some of the records, and what their files held.

    numbers: the records' places among all, ascending.
    """

    numbers: tuple[int, ...]
    plan: PicturePlan
    read: Mapping[Places, tuple[Pixels, Failed]]

    def __call__(self, record: Record) -> Pixels:
        """(pixels, present) of one of the records, as `gather` gives them."""
        return self.read[_places(record, self.plan)][0]

    def failed(self, record: Record) -> Failed:
        """Of which slots of one of the records a picture is missing or cannot be read, and why."""
        return self.read[_places(record, self.plan)][1]


def parts(records: Sequence[Record], weights: Sequence[int], most: int, pictures: FilePictures, threads: int) -> Iterator[Part]:
    """The records in parts: those of one picture together, else in their order.

    Args:
      weights: what each record counts.
      most: what a part counts at most, if it has records of more than one picture.
      threads: how many files are read at a time.
    """
    groups: dict[int | str, list[int]] = {}
    for number, record in enumerate(records):
        groups.setdefault(number if record.image is None else record.image, []).append(number)
    waiting: collections.deque[tuple[list[list[int]], list[concurrent.futures.Future[dict[Places, tuple[Pixels, Failed]]]]]]
    waiting = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(threads)

    def first() -> Part:
        numbers, running = waiting.popleft()
        read = {places: found for each in running for places, found in each.result().items()}
        return Part(tuple(sorted(number for group in numbers for number in group)), pictures.plan, read)

    try:
        for part in _full(groups.values(), weights, most):
            waiting.append((part, [pool.submit(_read, [records[number] for number in group], pictures) for group in part]))
            if len(waiting) > 1:
                yield first()
        while waiting:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)


def _full(groups: Iterable[list[int]], weights: Sequence[int], most: int) -> Iterator[list[list[int]]]:
    part: list[list[int]] = []
    total = 0
    for group in groups:
        weight = sum(weights[number] for number in group)
        if part and total + weight > most:
            yield part
            part, total = [], 0
        part.append(group)
        total += weight
    if part:
        yield part


def _read(records: Sequence[Record], pictures: FilePictures) -> dict[Places, tuple[Pixels, Failed]]:
    """Of records that share a photo; each different set of places once."""
    opened: dict[str, Image.Image | PictureError] = {}
    found: dict[Places, tuple[Pixels, Failed]] = {}
    for record in records:
        if (places := _places(record, pictures.plan)) not in found:
            failed: list[tuple[Slot, PictureError]] = []
            found[places] = gather(record, pictures.plan, pictures.read, opened, failed), tuple(failed)
    return found


def _places(record: Record, plan: PicturePlan) -> Places:
    return tuple(tuple(sources(record, slot)) for slot in plan)
