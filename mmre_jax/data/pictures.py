"""The picture plan: which pictures of a record a system sees, cut and resized, as uint8 pixels (decode.py opens and decodes them).

A plan is an ordered tuple of slots. `gather` follows it for one record; picture_report.py counts beforehand what is missing or damaged.
A picture that is absent or cannot be read gives zeros and False in `present`, never a stand-in; but with data.missing=blank a listed crop
whose file is missing gives zeros and True.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmre_jax import paths
from mmre_jax.data.decode import MAX_PIXELS, MissingPicture, PictureError, read_picture, refuse_url
from mmre_jax.records import Box, Record

SOURCES = ("photo", "detected", "grounded")
RELEASED_RESIZES = ("crop_bilinear", "cover_floor", "cover_ceil")
RESIZES = ("squash", "crop", "cover", *RELEASED_RESIZES)
MISSING = ("masked", "blank")  # what is shown of an object crop that is listed and whose file is missing: nothing, or a black picture
_PIXEL = 1e-4  # slack, in pixels, for boxes that were divided by the picture's size and multiplied again


@dataclasses.dataclass(frozen=True)
class Slot:
    """One entry of a picture plan: `count` pictures of `side` x `side` pixels.

    `source` is the whole photo, or the record's first `count` regions found by a detector ('detected') or by a text query
    ('grounded'). `mean` and `std` (per channel, for pixels in [0, 1]) are applied on the device.
    `resize`: 'squash' makes the picture side x side whatever its shape; 'crop' makes its shorter side 256/224 of `side` and keeps the
    centre, as ImageNet models do; 'cover' makes its shorter side `side` and keeps the centre, as CLIP does. Those of the released code, to
    the last grey level: 'crop_bilinear' (HVPNeT, RSRNeT) is torchvision's Resize and CenterCrop, which is bilinear; 'cover_floor'
    (IFAformer, MKGformer) and 'cover_ceil' (HVFormer) are CLIP's, with the centre's offset rounded down or up where the margin is odd.

    Raises:
      ValueError: a field outside its values.
    """

    name: str
    count: int
    side: int
    source: str
    resize: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"slot {self.name!r}: source is one of {SOURCES}, found {self.source!r}")
        if self.resize not in RESIZES:
            raise ValueError(f"slot {self.name!r}: resize is one of {RESIZES}, found {self.resize!r}")
        if self.count < 1 or self.side < 1:
            raise ValueError(f"slot {self.name!r}: count and side are at least 1, found {self.count} and {self.side}")
        if self.source == "photo" and self.count != 1:
            raise ValueError(f"slot {self.name!r}: a record has one photo, found count {self.count}")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise ValueError(f"slot {self.name!r}: mean and std are three numbers each, std above 0, found {self.mean}, {self.std}")


PicturePlan = tuple[Slot, ...]
Reader = Callable[[str], Image.Image]


def check_plan(plan: Sequence[Slot]) -> PicturePlan:
    """Returns `plan` as a tuple. Raises ValueError where two slots have one name."""
    names = [slot.name for slot in plan]
    if len(set(names)) != len(names):
        raise ValueError(f"slots of a picture plan need different names, found {names}")
    return tuple(plan)


def plan_to_json(plan: PicturePlan) -> list[dict[str, Any]]:
    """The plan as plain dictionaries, for checkpoints."""
    return [{**dataclasses.asdict(slot), "mean": list(slot.mean), "std": list(slot.std)} for slot in plan]


def plan_from_json(value: Iterable[Mapping[str, Any]]) -> PicturePlan:
    """Inverse of `plan_to_json`. Raises ValueError for unknown or missing keys, and for values outside a field's range."""
    fields = {field.name for field in dataclasses.fields(Slot)}
    slots = []
    for item in value:
        if set(item) != fields:
            raise ValueError(f"a slot has the keys {sorted(fields)}, found {sorted(item)}")
        slots.append(Slot(**{**item, "mean": tuple(item["mean"]), "std": tuple(item["std"])}))
    return check_plan(slots)


def inside(root: str | os.PathLike[str], name: str, where: str) -> str:
    """The path of `name` in the folder `root`, for a name that comes from data.

    Args:
      root: a folder that the user chose.
      name: relative path, either kind of slash.
      where: the record (file, line, field) the name comes from, for the message.

    Raises:
      PictureError: the name is a URL, or one behind the folder that a data set has its pictures in; it is empty or absolute, or leads
        out of `root` by `..` or by a symbolic link.
    """
    refuse_url(name, where, behind=True)
    return paths.inside(root, name, where, PictureError)


def cut(image: Image.Image, box: Box) -> Image.Image:
    """The part of a picture inside a normalised xyxy box, rounded outward to whole pixels, at least one."""
    (width, height), (x0, y0, x1, y1) = image.size, box
    left, top = min(math.floor(x0 * width + _PIXEL), width - 1), min(math.floor(y0 * height + _PIXEL), height - 1)
    right, bottom = max(math.ceil(x1 * width - _PIXEL), left + 1), max(math.ceil(y1 * height - _PIXEL), top + 1)
    return image.crop((left, top, right, bottom))


def fit(image: Image.Image, side: int, resize: str) -> np.ndarray:
    """Resizes an RGB picture, antialiased; bicubic where the rule does not say otherwise.

    Args:
      image: any size.
      side: side of the result in pixels.
      resize: see `Slot`. 'crop' and 'cover' round as torchvision's Resize and CenterCrop do.

    Returns:
      uint8 [side, side, 3].
    """
    kind = Image.Resampling.BILINEAR if resize == "crop_bilinear" else Image.Resampling.BICUBIC
    if resize == "squash":
        return np.asarray(image.resize((side, side), kind))
    target = _target(side, resize)
    shorter = min(image.size)
    scaled = [max(target * length // shorter, side) for length in image.size]
    starts = [_start(length - side, resize) for length in scaled]
    if resize in RELEASED_RESIZES and scaled[0] * scaled[1] <= MAX_PIXELS:  # exactly as released: all of it, and then the part
        return np.asarray(image.resize(scaled, kind).crop((*starts, starts[0] + side, starts[1] + side)))
    # One resampling of the part that stays: the whole of a 1 x 50,000 picture, enlarged, would not fit in memory.
    left, top = (start * length / after for start, length, after in zip(starts, image.size, scaled, strict=True))
    right, bottom = ((start + side) * length / after for start, length, after in zip(starts, image.size, scaled, strict=True))
    return np.asarray(image.resize((side, side), kind, box=(left, top, right, bottom)))


def _target(side: int, resize: str) -> int:
    """What a picture's shorter side becomes (both sides, by 'squash')."""
    return round(side * 256 / 224) if resize.startswith("crop") else side


def _start(margin: int, resize: str) -> int:
    """Pixels left out before the centre of a length that is `margin` longer than what stays."""
    if resize == "cover_floor":
        return margin // 2
    return (margin + 1) // 2 if resize == "cover_ceil" else round(margin / 2)  # round: to the even one of two, as torchvision does


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a slot's picture is: a file, or the part of a file inside a box."""

    file: str
    box: Box | None = None


def sources(record: Record, slot: Slot) -> list[tuple[Source, ...]]:
    """For each of the slot's pictures that the record has (at most `slot.count`), where it is; best place first.

    A region is in its published file, or, where there is no such file, in its box on the record's photo.
    """
    if slot.source == "photo":
        return [(Source(record.image),)] if record.image is not None else []
    places = []
    for region in [region for region in record.regions if region.source == slot.source][: slot.count]:
        file = (Source(region.file),) if region.file is not None else ()
        part = (Source(record.image, region.box),) if region.box is not None and record.image is not None else ()
        places.append(file + part)
    return places


def least_sides(record: Record, plan: PicturePlan) -> dict[str, int]:
    """{file: pixels that both its sides must have, so that no picture of the plan is enlarged}."""
    found: dict[str, int] = {}
    for slot in plan:
        target = _target(slot.side, slot.resize)
        for place in (place for places in sources(record, slot) for place in places):
            x0, y0, x1, y1 = place.box or (0.0, 0.0, 1.0, 1.0)
            needed = math.ceil(target / max(min(x1 - x0, y1 - y0), 1e-3))
            found[place.file] = max(found.get(place.file, 0), needed)
    return found


def gather(
    record: Record,
    plan: PicturePlan,
    read: Reader = read_picture,
    opened: dict[str, Image.Image | PictureError] | None = None,
    failed: list[tuple[Slot, PictureError]] | None = None,
    blank: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads a record's pictures as the plan says.

    Args:
      record: the record.
      plan: the slots to fill.
      read: reads one file (or key) as an RGB picture and raises PictureError where it cannot.
      opened: what became of files that were read before, and gets those that are read now; see `picture_at`.
      failed: gets the slots of pictures that are said to be somewhere and cannot be had, and why.
      blank: whether object crops that are missing (`is_blank`) are shown as black pictures.

    Returns:
      pixels, {slot name: uint8 [count, side, side, 3]}, and present, {slot name: bool [count]}. A picture that is absent or cannot
      be read is zeros and False; one that is shown as a black one is zeros and True.
    """
    opened = {} if opened is None else opened
    pixels: dict[str, np.ndarray] = {}
    present: dict[str, np.ndarray] = {}
    for slot in plan:
        pixels[slot.name] = np.zeros((slot.count, slot.side, slot.side, 3), np.uint8)
        present[slot.name] = np.zeros((slot.count,), np.bool_)
        for k, places in enumerate(sources(record, slot)):
            try:
                pixels[slot.name][k] = fit(picture_at(places, read, opened), slot.side, slot.resize)
                present[slot.name][k] = True
            except PictureError as error:
                present[slot.name][k] = blank and slot.source != "photo" and is_blank(places, error)
                if failed is not None and places:
                    failed.append((slot, error))
    return pixels, present


def is_blank(places: Sequence[Source], error: PictureError | None) -> bool:
    """Whether data.missing=blank shows an object crop as a black picture: it is said to be somewhere, and is missing there, not damaged."""
    return bool(places) and isinstance(error, MissingPicture)


def picture_at(places: Sequence[Source], read: Reader, opened: dict[str, Image.Image | PictureError]) -> Image.Image:
    """The picture at the first of `places` that is not missing, cut out where the place has a box.

    `opened` remembers what became of each file, so that crops of one photo decode it once.

    Raises:
      PictureError: it cannot be read, or (MissingPicture) is at none of the places.
    """
    missing = MissingPicture("a region without file, box or photo")
    for place in places:
        if place.file not in opened:
            try:
                opened[place.file] = read(place.file)
            except PictureError as error:
                opened[place.file] = error
        image = opened[place.file]
        if isinstance(image, MissingPicture):
            missing = image
        elif isinstance(image, PictureError):
            raise image
        else:
            return image if place.box is None else cut(image, place.box)
    raise missing
