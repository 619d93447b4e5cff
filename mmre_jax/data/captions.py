"""Captions of pictures from a file of their own, {picture: caption}, for any data set: any captioner can write one.

A picture goes by its path relative to the data set's folder ("photos/17.jpg", "img_org/train/17.jpg"), or by the last parts of that, down
to the file's name alone ("17.jpg"); of several names that fit, the longest counts. A caption that is null or blank is none. Where the file
has one for a record's picture, it takes the place of the record's own.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmre_jax import storage
from mmre_jax.data.dataset import RecordSource
from mmre_jax.records import Record, RecordError
from mmre_jax.text_files import read_json


def read(path: str | os.PathLike[str]) -> dict[str, str]:
    """{picture: caption} of a JSON file, names with '/' between their parts, captions with single spaces between their words.

    Raises:
      RecordError: naming the file and the picture: no such file, no JSON object, a caption that is no text, a picture that is there twice.
    """
    where = f"data.captions={os.fspath(path)}"
    try:
        found = read_json(storage.at_home(path))
    except OSError as error:
        raise RecordError(f"{where}: cannot be read ({error.strerror})") from error
    if not isinstance(found, dict):
        raise RecordError(f"{where}: expected a JSON object {{picture: caption}}, found a {type(found).__name__}")
    captions: dict[str, str] = {}
    for name, caption in found.items():
        if caption is not None and not isinstance(caption, str):
            raise RecordError(f"{where}, picture {name!r:.120}: a caption is a text, found {caption!r:.80}")
        plain = "/".join(_parts(name))
        if not plain:
            raise RecordError(f"{where}: {name!r:.120} is no picture's name")
        if plain in captions:
            raise RecordError(f"{where}: the picture {plain!r:.120} stands there twice, once as {name!r:.120}")
        captions[plain] = " ".join((caption or "").split())
    return captions


def name_of(image: str, captions: Mapping[str, str]) -> str | None:
    """The name in `captions` that a picture goes by: the longest that is its path or the last parts of it; None where it has none."""
    parts = _parts(image)
    return next((name for i in range(len(parts)) if (name := "/".join(parts[i:])) in captions), None)


def captioned(record: Record, captions: Mapping[str, str]) -> Record:
    """The record with its picture's caption, where there is one."""
    name = None if record.image is None else name_of(record.image, captions)
    caption = "" if name is None else captions[name]
    return dataclasses.replace(record, caption=caption) if caption else record


def add(records: RecordSource, captions: Mapping[str, str]) -> RecordSource:
    """The records with captions; of what is no list each when it is asked for."""
    return [captioned(record, captions) for record in records] if isinstance(records, list) else Captioned(records, captions)


@dataclasses.dataclass(frozen=True)
class Captioned:
    """A source of records that get their captions when they are asked for."""

    records: RecordSource
    captions: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return captioned(self.records[index], self.captions)

    def __iter__(self) -> Iterator[Record]:
        return map(self.__getitem__, range(len(self)))


def counts(records: Mapping[str, Sequence[Record]], captions: Mapping[str, str], where: str = "") -> dict[str, dict[str, int]]:
    """What is to be told of captions before a run: {split: {without_caption}, 'captions': {in_the_file, of_unknown_pictures}}.

    Args:
      records: by split, with their captions.
      captions: of the file, {} where there is none.
      where: the file, for messages.

    Returns:
      As above; nothing of a data set without any caption, and nothing about a file where there is none.

    Raises:
      RecordError: for a name that several pictures of a split go by, or a file that has no picture of the records'.
    """
    found: dict[str, dict[str, Any]] = {}
    if captions or any(record.caption for split in records.values() for record in split):
        found = {split: {"without_caption": sum(not record.caption for record in each)} for split, each in records.items()}
    if not captions:
        return found
    known: set[str] = set()
    for split, each in records.items():
        pictures: dict[str, str] = {}
        for image in dict.fromkeys(record.image for record in each if record.image is not None):
            name = name_of(image, captions)
            if name is not None and pictures.setdefault(name, image) != image:
                said = f"{name!r} is the name of two pictures of split {split}, {pictures[name]} and {image}"
                raise RecordError(f"data.captions={where}: {said}: give more of their paths")
        known |= pictures.keys()
    if not known:
        image = next((record.image for each in records.values() for record in each if record.image is not None), "none")
        said = f"its first name is {next(iter(captions))!r}, the records' first picture {image}"
        raise RecordError(f"data.captions={where}: none of its {len(captions):,} names is that of a record's picture: {said}")
    return {**found, "captions": {"in_the_file": len(captions), "of_unknown_pictures": len(captions) - len(known)}}


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
