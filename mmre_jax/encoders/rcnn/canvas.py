"""Pictures of any size on a few canvases, so that a detector is compiled once for each canvas and not for each picture."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from mmre_jax.records import Box


@dataclasses.dataclass(frozen=True)
class Canvases:
    """The canvases of a detector.

    A picture is scaled until its shorter side is `short`, or its longer side `long` where that comes first, as torchvision's detectors do
    (on the host, by Pillow's bilinear filter, which averages where it shrinks; torchvision's does not). It is put at the top left of the
    smallest canvas that holds it; what is left stays 0.

    Attributes:
      short, long: pixels.
      lengths: longer sides of the canvases, ascending; the last one is at least `long`. The shorter one is `short`, rounded up to a
        multiple of `divisor`. Each canvas stands and lies.
      divisor: what every side is a multiple of.

    Raises:
      ValueError: for lengths that are no such sides.
    """

    short: int = 800
    long: int = 1333
    lengths: tuple[int, ...] = (800, 1088, 1344)
    divisor: int = 32

    def __post_init__(self) -> None:
        fine = all(side % self.divisor == 0 for side in self.lengths) and list(self.lengths) == sorted(set(self.lengths))
        if not 0 < self.short <= self.long or not fine or not self.lengths or self.lengths[-1] < self.long:
            raise ValueError(
                f"lengths of canvases are ascending multiples of {self.divisor} up to at least {self.long}, found {self.lengths} "
                f"for pictures of {self.short} to {self.long} pixels a side"
            )

    @classmethod
    def of(cls, short: int, long: int, divisor: int = 32) -> Canvases:
        """Those for pictures of these sides: square, 3:4 and as long as a picture can be."""
        sides = (short, min(long, short * 4 // 3), long)
        return cls(short, long, tuple(sorted({-(-side // divisor) * divisor for side in sides})), divisor)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(height, width) that a picture is scaled to, at least one pixel each."""
        scale = min(self.short / min(width, height), self.long / max(width, height))
        return max(1, int(height * scale)), max(1, int(width * scale))

    def canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the smallest canvas that holds a scaled picture."""
        short = -(-self.short // self.divisor) * self.divisor
        longer = next(side for side in self.lengths if side >= max(size))
        return (short, max(longer, short)) if size[1] >= size[0] else (max(longer, short), short)

    def place(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """A picture on its canvas, uint8 [H, W, 3], and the size it has there, int32 [2] (height, width)."""
        size = self.size(*image.size)
        pixels = np.zeros((*self.canvas(size), 3), np.uint8)
        pixels[: size[0], : size[1]] = np.asarray(image.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR))
        return pixels, np.array(size, np.int32)


def in_picture(box: np.ndarray, size: np.ndarray) -> Box:
    """A box in pixels of a canvas, [4], divided by the size (height, width) that the picture has there: corners within [0, 1]."""
    height, width = map(float, size)
    x0, y0, x1, y1 = (float(side) for side in box)
    return tuple(min(max(value, 0.0), 1.0) for value in (x0 / width, y0 / height, x1 / width, y1 / height))  # type: ignore[return-value]
