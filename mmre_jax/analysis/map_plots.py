"""Attention maps and what is computed of them: rows over the places of a picture, squares of places or tokens, lines over levels.

Each function returns a matplotlib Figure of its own; none touches pyplot or any other global state. All panels of a page have one scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mmre_jax.analysis.annotate import CAPTION, COLOURS, DOTS, FAINT, LABEL, fitted
from mmre_jax.analysis.fonts import families
from mmre_jax.analysis.places import Places

COLOUR_MAP = "viridis"
SMALL = CAPTION - 1.5
ACROSS = 5  # panels in a line, where there is no other order in them


def strips(maps: np.ndarray, titles: Sequence[str], rows: Sequence[str], places: Places, title: str, *, groups: int = 1) -> Figure:
    """A panel for each of n maps [n, R, P]: R rows over the places of the picture, whose parts are set apart by lines.

    Args:
      rows: R names.  groups: into how many equal groups of rows a line divides them.
    """
    count, height = maps.shape[:2]
    down, across = _lines_of(count, 3)
    figure = _page(1.4 + 3.6 * across, 0.9 + down * (0.62 + 0.145 * max(height, 3)), title)
    norm = Normalize(0, float(maps.max()) or 1.0)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for number, panel in enumerate(panels.flat):
        if number >= count:
            panel.set_axis_off()
            continue
        image = _draw(panel, maps[number], norm, titles[number])
        panel.set_aspect("auto")
        panel.set_yticks(range(height), rows, fontsize=CAPTION if height <= 10 else SMALL)
        panel.tick_params(axis="y", length=0)
        for group in range(1, groups):
            panel.axhline(group * height / groups - 0.5, color="white", linewidth=1.2)
        _mark_parts(panel, places, across=True, label=number + across >= count)
    _scale(figure, image, panels, "weight")
    return figure


def squares(maps: np.ndarray, titles: Sequence[Sequence[str]], places: Places, title: str, *, rows: str = "attending place") -> Figure:
    """A grid of maps [rows, columns, P, P] of places by places; NaN panels are left out. Colours follow the square root of the weights, or
    the diagonal would hide all else."""
    down, across = maps.shape[:2]
    side = 1.25 if across > 6 else 2.0
    figure = _page(1.6 + side * across, 1.0 + (side + 0.22) * down, title)
    norm = PowerNorm(0.5, 0, float(np.nanmax(maps)) or 1.0)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for row, column in np.ndindex(down, across):
        panel = panels[row, column]
        if np.isnan(maps[row, column]).all():
            panel.set_axis_off()
            continue
        image = _draw(panel, maps[row, column], norm, titles[row][column])
        last = row == down - 1 or bool(np.isnan(maps[row + 1, column]).all())
        _mark_parts(panel, places, across=True, label=last)
        _mark_parts(panel, places, across=False, label=column == 0)
    figure.supylabel(rows, fontsize=LABEL, color=FAINT)
    _scale(figure, image, panels, "weight, on a scale of square roots")
    return figure


def token_squares(maps: np.ndarray, titles: Sequence[Sequence[str]], tokens: Sequence[str], title: str) -> Figure:
    """A grid of maps [rows, columns, L, L] of tokens by tokens; the attending token is the row."""
    down, across = maps.shape[:2]
    side = max(1.3, 0.105 * len(tokens) + 0.3)
    figure = _page(1.9 + side * across, 1.6 + (side + 0.22) * down, title)
    norm = Normalize(0, float(maps.max()) or 1.0)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    names = [fitted(token, 60, CAPTION) for token in tokens]
    look = {"fontsize": CAPTION, "parse_math": False, "family": families("".join(names))}
    for row, column in np.ndindex(down, across):
        panel = panels[row, column]
        image = _draw(panel, maps[row, column], norm, titles[row][column])
        panel.set_xticks(range(len(names)), names, rotation=90, **look)
        panel.set_yticks(range(len(names)), names, **look)
        panel.tick_params(labelbottom=row == down - 1, labelleft=column == 0, length=0)
    _scale(figure, image, panels, "weight")
    return figure


def lines(values: np.ndarray, labels: Sequence[str], rows: Sequence[str], title: str, unit: str, *, decades: bool = False) -> Figure:
    """Values [N, W] over N labels: a line for each of W rows, and their mean where there are several.

    Args:
      decades: show values on a logarithmic scale where they span a factor of 100 or more, or the small ones would all look like 0.
    """
    figure = _page(max(4.8, 1.6 + 0.5 * len(labels)), 3.2, title)
    axes = figure.add_subplot()
    for row, name in enumerate(rows):
        axes.plot(values[:, row], color=COLOURS[row], marker="o", markersize=3.5, linewidth=1.2, label=name)
    if len(rows) > 1:
        axes.plot(values.mean(axis=1), color=FAINT, linestyle="--", linewidth=1.2, label="mean")
    axes.set_xticks(range(len(labels)), labels, fontsize=CAPTION, rotation=45 if len(labels) > 6 else 0)
    axes.set_ylabel(unit, fontsize=LABEL)
    if decades and values.min() > 0 and values.max() >= 100 * values.min():
        axes.set_yscale("log")
    axes.tick_params(labelsize=CAPTION)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=CAPTION, frameon=False)
    return figure


def wrapped(maps: np.ndarray, across: int = ACROSS) -> np.ndarray:
    """Maps [n, ...] as rows of `across`, [rows, across, ...], filled up with NaN."""
    down, wide = _lines_of(len(maps), across)
    filled = np.full((down * wide, *maps.shape[1:]), np.nan)
    filled[: len(maps)] = maps
    return filled.reshape(down, wide, *maps.shape[1:])


def wrapped_titles(titles: Sequence[str], across: int = ACROSS) -> list[list[str]]:
    """The titles of `wrapped` maps."""
    down, wide = _lines_of(len(titles), across)
    filled = [*titles, *[""] * (down * wide - len(titles))]
    return [filled[row * wide : (row + 1) * wide] for row in range(down)]


def _lines_of(count: int, across: int) -> tuple[int, int]:
    """Lines and panels a line, of at most `across`."""
    down = -(-count // across)
    return down, -(-count // down)


def _page(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DOTS, facecolor="white", layout="constrained")
    figure.suptitle(title, fontsize=LABEL + 1, parse_math=False, family=families(title))
    return figure


def _draw(panel: Axes, values: np.ndarray, norm: Normalize, title: str) -> AxesImage:
    panel.set_title(title, fontsize=CAPTION, color=FAINT, pad=3)
    panel.spines[:].set_visible(False)
    return panel.imshow(values, cmap=COLOUR_MAP, norm=norm, interpolation="nearest")


def _mark_parts(panel: Axes, places: Places, *, across: bool, label: bool) -> None:
    """Lines between [CLS] and the pictures, and their names in the middle of each."""
    axis, line = (panel.xaxis, panel.axvline) if across else (panel.yaxis, panel.axhline)
    names = [("CLS", 0.0)] if places.has_class else []
    for part, name in zip(places.parts, places.names, strict=True):
        names.append((name, (part.start + part.stop - 1) / 2))
        if part.start:
            line(part.start - 0.5, color="white", linewidth=0.8)
    axis.set_ticks([place for _, place in names], [name for name, _ in names], fontsize=SMALL)
    panel.tick_params(axis="x" if across else "y", length=0, labelrotation=90 if across else 0)
    panel.tick_params(**{"labelbottom" if across else "labelleft": label})


def _scale(figure: Figure, image: AxesImage, panels: np.ndarray, words: str) -> None:
    bar = figure.colorbar(image, ax=panels, shrink=min(1.0, 2.4 / figure.get_figheight() + 0.2), aspect=24, pad=0.015)
    bar.set_label(words, fontsize=CAPTION, color=FAINT)
    bar.ax.tick_params(labelsize=CAPTION)
    bar.outline.set_visible(False)
