"""What a system was shown of a record, for drawing: the photo, and the object crops with their boxes."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmre_jax.data import datasets
from mmre_jax.data.pictures import PicturePlan, gather
from mmre_jax.records import Box, Record


@dataclasses.dataclass(frozen=True)
class Seen:
    """photo: uint8 [H, W, 3] at its own size, None where the plan has none or it is absent.  crops: (uint8 [h, w, 3], caption) each, as
    the system got them.  boxes: of those crops that were cut out of the photo."""

    photo: np.ndarray | None
    crops: tuple[tuple[np.ndarray, str], ...]
    boxes: tuple[Box, ...]


def what_was_seen(record: Record, plan: PicturePlan) -> Seen:
    """Follows the plan for one record."""
    pixels, present = gather(record, plan, datasets.read_picture)
    photo, crops, boxes = None, [], []
    for slot in plan:
        if slot.source == "photo":
            if present[slot.name][0] and record.image is not None:
                photo = np.asarray(datasets.read_picture(record.image).convert("RGB"))
            continue
        regions = [region for region in record.regions if region.source == slot.source][: slot.count]
        for place, region in enumerate(regions):
            if present[slot.name][place]:
                crops.append((pixels[slot.name][place], f"{slot.name} {place + 1}"))
                if region.box is not None:
                    boxes.append(region.box)
    return Seen(photo, tuple(crops), tuple(boxes))
