"""Pictures of a table: its rows as bars, or as lines over what a figure's axis has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmre_jax.analysis.annotate import COLOURS, INK, tint
from mmre_jax.analysis.fonts import families, shown
from mmre_jax.reproduce.results import Cell, Line
from mmre_jax.reproduce.table import Entry

MARKERS = "os^Dv<>P"


def picture(entry: Entry, lines: Sequence[Line], *, with_paper: bool) -> Figure | None:
    """The tested column: ours with its deviation over seeds, and the paper's numbers; None where there are not two to compare.

    Args:
      with_paper: whether the paper's numbers can be read beside ours; not where ours are of other data.
    """
    place = entry.columns.index(entry.main)
    cells = [(line, line.cells[place]) for line in lines]
    there = [each for each in cells if each[1].values or (with_paper and each[1].published is not None)]
    if len(there) < 2:
        return None
    if entry.axis and all(isinstance(line.row.x, (int, float)) for line, _ in there):
        return _curves(entry, there, with_paper)
    return _bars(entry, there, with_paper)


def _bars(entry: Entry, there: Sequence[tuple[Line, Cell]], with_paper: bool) -> Figure:
    alone = len({line.row.name for line, _ in there}) == len(there)
    names = [shown(line.row.name if alone else line.row.label) for line, _ in there]
    page = Figure(figsize=(7.2, 1.3 + 0.34 * len(there)), layout="constrained")
    axes = page.add_subplot()
    at = np.arange(len(there))
    ours = np.array([np.nan if cell.mean is None else cell.mean for _, cell in there])
    errors = np.array([0.0 if cell.std is None else cell.std for _, cell in there])
    axes.barh(at, np.nan_to_num(ours), 0.62, color=tint(COLOURS[0], 0.35), edgecolor=COLOURS[0], linewidth=0.6, label="ours")
    if errors.any():
        axes.hlines(at, ours - errors, ours + errors, color=COLOURS[0], linewidth=1.4, label="sample deviation over seeds")
    if with_paper:
        papers = np.array([np.nan if cell.published is None else cell.published for _, cell in there])
        axes.plot(papers, at, linestyle="none", marker="D", markersize=4.5, color=INK, label="the paper")
    for y, value in zip(at, ours, strict=True):
        told = "not run" if np.isnan(value) else f"{value:.1f}"
        axes.annotate(told, (0 if np.isnan(value) else value, y), (4, 0), textcoords="offset points", va="center", fontsize=7.5, color=INK)
    axes.set_yticks(at, names, fontsize=8.5, parse_math=False, family=families("".join(names)))
    axes.set_ylim(len(there) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set_xlabel(_unit(entry), parse_math=False)
    _finish(axes, page, "x")
    return page


def _curves(entry: Entry, there: Sequence[tuple[Line, Cell]], with_paper: bool) -> Figure:
    page = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = page.add_subplot()
    groups = dict.fromkeys(line.row.group for line, _ in there)
    for number, group in enumerate(groups):
        own = [(float(line.row.x or 0), cell) for line, cell in there if line.row.group == group]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        run = [(x, cell.mean, cell.std or 0.0) for x, cell in own if cell.mean is not None]
        if run:
            xs, ys, errors = zip(*run, strict=True)
            bars = errors if any(errors) else None
            axes.errorbar(
                xs, ys, yerr=bars, color=colour, marker=marker, markersize=4.5, linewidth=1.4, capsize=3, label=shown(group or "ours")
            )
        printed = [(x, cell.published) for x, cell in own if cell.published is not None] if with_paper else []
        if printed:
            look = {"color": colour, "marker": marker, "markersize": 4.5, "markerfacecolor": "white", "linestyle": "--", "linewidth": 1.0}
            axes.plot(*zip(*printed, strict=True), **look, label=shown(f"{group or 'ours'}, the paper"))
    axes.set_xlabel(entry.axis, parse_math=False)
    axes.set_ylabel(_unit(entry), parse_math=False)
    _finish(axes, page, "both")
    return page


def _unit(entry: Entry) -> str:
    return f"{entry.main.name} (%)" if entry.main.unit == "percent" else entry.main.name


def _finish(axes: Axes, page: Figure, grid: str) -> None:
    axes.grid(axis=grid, color="#e6e6e6", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        legend = page.legend(handles, labels, loc="outside upper center", frameon=False, fontsize=8.5, ncols=min(len(labels), 3))
        for told in legend.get_texts():
            told.set_parse_math(False)
            told.set_family(families(told.get_text()))
