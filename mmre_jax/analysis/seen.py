"""What a system was shown of a record, for drawing: the photo, and the object crops with their boxes."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmre_jax.data import datasets
from mmre_jax.data.decode import PictureError
from mmre_jax.data.pictures import PicturePlan, gather
from mmre_jax.records import Box, Record


@dataclasses.dataclass(frozen=True)
class Seen:
    """What there is to draw.

    photo: uint8 [H, W, 3] at its own size; None where the system saw neither it nor a box of it.
    crops: (uint8 [h, w, 3], caption) each, as the system got them; those with a box in the photo come first.
    boxes: of those crops, in their order.
    """

    photo: np.ndarray | None
    crops: tuple[tuple[np.ndarray, str], ...]
    boxes: tuple[Box, ...]


def what_was_seen(record: Record, plan: PicturePlan) -> Seen:
    """Follows the plan for one record. What is missing or cannot be read is left out, whatever data.missing says."""
    pixels, present = gather(record, plan, datasets.read_picture)
    found: list[tuple[np.ndarray, str, Box | None]] = []
    for slot in plan:
        regions = [region for region in record.regions if region.source == slot.source][: slot.count]
        for place, region in enumerate(regions):
            if present[slot.name][place]:
                found.append((pixels[slot.name][place], slot.name, region.box))
    found.sort(key=lambda crop: crop[2] is None)
    crops = tuple((crop, f"{number} {name}") for number, (crop, name, _) in enumerate(found, 1))
    boxes = tuple(box for _, _, box in found if box is not None)
    shown = bool(boxes) or any(slot.source == "photo" and present[slot.name][0] for slot in plan)
    return Seen(_photo(record) if shown else None, crops, boxes)


def _photo(record: Record) -> np.ndarray | None:
    if record.image is None:
        return None
    try:
        return np.asarray(datasets.read_picture(record.image))
    except PictureError:  # crops may be files of their own beside a photo that is missing
        return None
