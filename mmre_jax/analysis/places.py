"""What the places of a visual sequence are: [CLS], and the cells of each picture, row by row."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmre_jax.encoders.vit_config import ViTConfig
from mmre_jax.systems.released.prefixes import ReleasedRSRNeTConfig
from mmre_jax.training.job import Job


@dataclasses.dataclass(frozen=True)
class Part:
    """The cells of one picture in a sequence.

    slot, number: which picture of the plan.  start: its first place.  grid: cells along a side; it has grid * grid places.
    """

    slot: str
    number: int
    start: int
    grid: int

    @property
    def stop(self) -> int:
        """The place behind its last."""
        return self.start + self.grid**2


@dataclasses.dataclass(frozen=True)
class Places:
    """A sequence of `count` places: [CLS] first where there is one, then the cells of each picture."""

    count: int
    parts: tuple[Part, ...]

    @property
    def has_class(self) -> bool:
        """Whether the first place is [CLS]."""
        return self.parts[0].start == 1

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts are called in a figure: their slot, numbered from 1 where there are several of it."""
        slots = [part.slot for part in self.parts]
        return tuple(part.slot if slots.count(part.slot) == 1 else f"{part.slot} {part.number + 1}" for part in self.parts)

    def to_json(self) -> dict[str, object]:
        """For programs: {'count', 'class_place', 'pictures': [{'name', 'slot', 'number', 'start', 'grid'}]}."""
        rows = [{"name": name, **dataclasses.asdict(part)} for name, part in zip(self.names, self.parts, strict=True)]
        return {"count": self.count, "class_place": 0 if self.has_class else None, "pictures": rows}

    def cells(self, values: np.ndarray, part: Part) -> np.ndarray:
        """Of values [..., P] those of one picture, [..., grid, grid]."""
        return values[..., part.start : part.stop].reshape(*values.shape[:-1], part.grid, part.grid)


def visual_places(job: Job, count: int) -> Places:
    """What `count` places of a system's visual sequence are.

    A ViT's pictures have as many cells as patches; any other encoder's pictures have equally many.

    Raises:
      ValueError: where that many places cannot be the cells of the plan's pictures, or are blocks of channels and not cells.
    """
    plan, config = job.system.plan, job.system.net.config
    vision = getattr(config, "vision", None)
    if isinstance(config, ReleasedRSRNeTConfig):
        raise ValueError("the places of the released code's visual prefix are blocks of channels, not cells of a picture")
    pictures = [(slot.name, number, slot.side) for slot in plan for number in range(slot.count)]
    if isinstance(vision, ViTConfig):
        grids = [side // vision.patch for _, _, side in pictures]
    else:
        grids = [round((count / max(len(pictures), 1)) ** 0.5)] * len(pictures)
    cells = sum(grid**2 for grid in grids)
    if not pictures or count - cells not in (0, 1):
        raise ValueError(f"{count} places are not the cells of {len(pictures)} pictures of {', '.join(map(str, grids))} cells a side")
    starts = np.cumsum([count - cells, *(grid**2 for grid in grids)]).tolist()
    found = zip(pictures, starts, grids, strict=False)
    return Places(count, tuple(Part(name, number, start, grid) for (name, number, _), start, grid in found))
