"""What pictures a data set refers to, and which of them are there: counted once, before anything is trained."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any

from mmre_jax import storage
from mmre_jax.data import decode, pictures
from mmre_jax.data.decode import MissingPicture, PictureError
from mmre_jax.data.pictures import PicturePlan, Source, is_blank
from mmre_jax.data.verdicts import judged
from mmre_jax.progress import track
from mmre_jax.records import Record

EXAMPLES = 5
_BAR_FROM = 1000


@dataclasses.dataclass(frozen=True)
class Tally:
    """How many different pictures are referred to, and how they fared. `examples` are messages, at most five, damage first."""

    referenced: int = 0
    present: int = 0
    missing: int = 0
    unreadable: int = 0
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.present:,} of {self.referenced:,} at hand, {self.missing:,} missing, {self.unreadable:,} unreadable"


@dataclasses.dataclass(frozen=True)
class PictureReport:
    """Counts over the records of one or more splits: records, records whose photo can be read, photos, and object crops.

    blank: of the missing crops those that data.missing=blank shows as black pictures.
    """

    records: int
    records_with_photo: int
    photos: Tally
    crops: Tally
    blank: int = 0

    @property
    def complete(self) -> bool:
        """Nothing that the plan asks for is missing or unreadable."""
        return all(tally.present == tally.referenced for tally in (self.photos, self.crops))

    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = [f"photos: {self.photos}; {self.records_with_photo:,} of {self.records:,} records have theirs"]
        if self.crops.referenced:
            lines.append(f"crops:  {self.crops}" + (f"; {self.blank:,} of the missing shown as blank" if self.blank else ""))
        return "\n".join(lines + [f"  {example}" for example in dict.fromkeys(self.photos.examples + self.crops.examples)])

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary of the counts and examples."""
        return dataclasses.asdict(self)


def check(
    records: Iterable[Record],
    plan: PicturePlan,
    *,
    threads: int | None = None,
    fetch: bool = True,
    remembered: str = "",
    blank: bool = False,
) -> PictureReport:
    """Looks at every picture file that `plan` asks for, once, by reading it as the loader does (see decode.py for what that costs).

    Pictures in a bucket are all fetched by that. Where they are not to be, their folders are listed instead, a request for each 1,000
    objects: what is there, not empty and not too large counts as at hand then, and what is damaged shows when it is read.

    A record that has no photo, and a region beyond a slot's count, are not references. A crop cut from a photo fares as its photo.

    Args:
      records: the records.
      plan: the slots to be filled.
      threads: how many files are looked at together; the number of processors, at most 16, if None.
      fetch: whether pictures in buckets are read.
      remembered: folder in which it is remembered which files on disks can be read (verdicts.py); '' for nowhere.
      blank: as of `pictures.gather`.
    """
    records = list(records)
    wants_photo = any(slot.source == "photo" for slot in plan)
    crops = {places for record in records for slot in plan if slot.source != "photo" for places in pictures.sources(record, slot)}
    photos = {record.image for record in records if record.image is not None and wants_photo}
    files = sorted(photos | {place.file for places in crops for place in places})
    listed = [] if fetch else [file for file in files if decode.in_bucket(file)]
    read = functools.partial(_read_all, threads=threads or min(os.cpu_count() or 1, 16))
    remote = [file for file in files if decode.in_bucket(file)]
    errors = _list_all(listed) | read(sorted(set(remote) - set(listed))) | judged(sorted(set(files) - set(remote)), read, remembered)
    fared = {places: _first_error(places, errors) for places in sorted(crops, key=repr)}
    return PictureReport(
        records=len(records),
        records_with_photo=sum(record.image is not None and wants_photo and errors[record.image] is None for record in records),
        photos=tally([errors[file] for file in sorted(photos)]),
        crops=tally(fared.values()),
        blank=sum(is_blank(places, error) for places, error in fared.items()) if blank else 0,
    )


def _read_all(files: Sequence[str], threads: int) -> dict[str, PictureError | None]:
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = pool.map(_error, files)
        name = "checking pictures" if len(files) >= _BAR_FROM else ""
        return dict(zip(files, track(found, name, len(files), unit="picture"), strict=True))


def _list_all(files: list[str]) -> dict[str, PictureError | None]:
    return {file: _by_size(file, size) for file, size in storage.sizes(files).items()}


def _by_size(file: str, size: int | None) -> PictureError | None:
    if size is None:
        return MissingPicture(f"{file}: no such file")
    return None if 0 < size <= decode.MAX_BYTES else PictureError(f"{file}: {size:,} bytes: not a picture, or one that is not read")


def _error(file: str) -> PictureError | None:
    try:
        decode.read_picture(file)
    except PictureError as error:
        return error
    return None


def _first_error(places: tuple[Source, ...], errors: dict[str, PictureError | None]) -> PictureError | None:
    """Why the crop cannot be had, trying its places in order as `gather` does."""
    error: PictureError | None = MissingPicture("a region without file, box or photo")
    for place in places:
        error = errors[place.file]
        if not isinstance(error, MissingPicture):
            return error
    return error


def tally(errors: Iterable[PictureError | None]) -> Tally:
    """Counts what became of pictures: None for one that can be read, else why not."""
    errors = list(errors)
    missing = [str(error) for error in errors if isinstance(error, MissingPicture)]
    unreadable = [str(error) for error in errors if error is not None and not isinstance(error, MissingPicture)]
    examples = tuple(dict.fromkeys(unreadable + missing))[:EXAMPLES]
    return Tally(len(errors), len(errors) - len(missing) - len(unreadable), len(missing), len(unreadable), examples)
