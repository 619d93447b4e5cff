"""Maps over the pictures that a network saw: the photo, and beside it the crops, each with its own cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mmre_jax.analysis.annotate import CAPTION, DOTS, FAINT, LABEL, LINE, fitted
from mmre_jax.analysis.attention_plots import HEAT, STRENGTH
from mmre_jax.analysis.fonts import families
from mmre_jax.analysis.places import Places

GAP = 0.06  # between pictures, the photo being 1 wide
STACK = 3  # crops below each other, as high as the photo together
PANEL = 1.75  # inches


def grid(
    maps: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str],
    rows: Sequence[str],
    pictures: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
    places: Places,
    title: str,
) -> Figure:
    """A panel for each map, in rows and columns, and before them one column of the pictures as they are.

    Args:
      maps: for each row and column float [P]; each is drawn on a scale of its own, whose largest weight stands below it.
      pictures: {slot: uint8 [K, S, S, 3]}, as the network saw them.  present: {slot: bool [K]}.
      places: what the P places are.
    """
    frames, width = frames_of(places)
    across, down = len(columns) + 1, len(rows)
    figure = Figure(figsize=(0.5 + PANEL * width * across, 0.8 + (PANEL + 0.22) * down), dpi=DOTS, facecolor="white", layout="constrained")
    figure.suptitle(title, fontsize=LABEL + 1, parse_math=False, family=families(title))
    panels = figure.subplots(down, across, squeeze=False)
    for row, column in np.ndindex(down, across):
        panel = panels[row, column]
        panel.set(xlim=(-0.01, width), ylim=(1.01, -0.01), aspect="equal")
        panel.set_axis_off()
        if column == 0:
            panel.text(-0.06, 0.5, rows[row], fontsize=LABEL, color=FAINT, rotation=90, ha="right", va="center")
        heading = "what it saw" if column == 0 else columns[column - 1]
        if row == 0:
            lines = "\n".join(fitted(line, 72 * PANEL * width, CAPTION) for line in heading.split("\n"))
            panel.set_title(lines, fontsize=CAPTION, parse_math=False, family=families(lines))
        values = None if column == 0 else maps[row][column - 1]
        draw(panel, values, frames, pictures, present, places)
    return figure


def frames_of(places: Places) -> tuple[list[tuple[float, float, float]], float]:
    """Left, top and side of each picture, and the width of all: photos 1 high, then columns of STACK crops each."""
    large = [part for part in places.parts if part.slot == "photo"]
    side = (1 - (STACK - 1) * GAP) / STACK
    frames, left, stacked = [], 0.0, 0
    for part in places.parts:
        if part.slot == "photo":
            frames.append((left, 0.0, 1.0))
            left += 1 + GAP
            continue
        if stacked and stacked % STACK == 0:
            left += side + GAP
        frames.append((left, (stacked % STACK) * (side + GAP), side))
        stacked += 1
    return frames, left + (side if len(large) < len(places.parts) else -GAP) + 0.01


def draw(
    panel: Axes,
    values: np.ndarray | None,
    frames: Sequence[tuple[float, float, float]],
    pictures: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
    places: Places,
) -> None:
    """Pictures in their frames, in axes in which the photo is 1 high: as they are, or grey below a map float [P]."""
    largest = 0.0 if values is None else max(float(values[part.start : part.stop].max()) for part in places.parts)
    for part, (left, top, side) in zip(places.parts, frames, strict=True):
        extent = (left, left + side, top + side, top)
        if not present[part.slot][part.number]:
            panel.text(left + side / 2, top + side / 2, "none", fontsize=CAPTION - 2, color=FAINT, ha="center", va="center")
            _frame(panel, left, top, side)
            continue
        pixels = pictures[part.slot][part.number]
        if values is None:
            panel.imshow(pixels, extent=extent, interpolation="nearest")
        else:
            panel.imshow(pixels.mean(axis=-1) * 0.6 + 102, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
            cells = places.cells(values, part)
            tint = np.empty((*cells.shape, 4))
            tint[..., :3], tint[..., 3] = to_rgb(HEAT), STRENGTH * cells / (largest or 1.0)
            panel.imshow(tint, extent=extent, interpolation="nearest")
        _frame(panel, left, top, side)
    if values is not None:
        own = f", [CLS] {values[0]:.2f}" if places.has_class else ""
        panel.text(0, 1.03, f"largest {largest:.3f}{own}", fontsize=CAPTION - 1, color=FAINT, va="top")


def _frame(panel: Axes, left: float, top: float, side: float) -> None:
    panel.plot([left, left + side, left + side, left, left], [top, top, top + side, top + side, top], color=LINE, linewidth=0.6)
