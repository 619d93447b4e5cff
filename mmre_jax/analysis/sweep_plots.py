"""The curves of a sweep: scores against a setting, with error bars over seeds, a line for each value of the others.

Shares of the training set and of the pictures are shown in percent, as in RSRNeT's figure 5 and DGF-PT's figure 3, and so are scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mmre_jax.analysis.annotate import COLOURS, tint
from mmre_jax.analysis.fonts import families, shown
from mmre_jax.analysis.sweep import SHARES, Scored, Sweep

MARKERS = "os^Dv<>P"
Point = tuple[Any, float, float]  # value of the setting (of bars: its place), mean, standard deviation, in percent


def curve(sweeps: Mapping[str, Sweep], scores: Sequence[str]) -> Figure:
    """A panel for each score, over the first setting whose values are all numbers, as lines; over the first one, as bars, if there is none.

    Error bars are the sample standard deviation over seeds. The axis is logarithmic where that spaces the values more evenly.

    Args:
      sweeps: by name; that of the first one says what is shown, and names stand beside lines where there are several.

    Raises:
      ValueError: where no run is finished, or a sweep does not vary the setting that is shown, or lacks a score.
    """
    across, numeric = shown_setting(next(iter(sweeps.values())))
    check_beside(across, scores, sweeps)
    lines = {
        label: own for name, sweep in sweeps.items() for label, own in _labelled(sweep, across, name if len(sweeps) > 1 else "").items()
    }
    values = list(dict.fromkeys(each.cell.values[place] for own in lines.values() for place, each in own))
    if numeric:
        values.sort()
    columns = 1 if len(scores) == 1 else 2
    rows, wide = -(-len(scores) // columns), 1.0 if numeric or len(values) * len(lines) <= 8 else 1.5
    page = Figure(figsize=((5.4 if columns == 1 else 4.4) * columns * wide, 3.7 * rows), layout="constrained")
    panels = page.subplots(rows, columns, squeeze=False).ravel()
    for axes, score in zip(panels, scores, strict=False):
        for number, (label, own) in enumerate(lines.items()):
            points = [(each.cell.values[place], 100 * each.mean[score], 100 * each.std[score]) for place, each in own]
            if numeric:
                _line(axes, sorted(points), label, number)
            else:
                _bars(axes, [(values.index(value), mean, std) for value, mean, std in points], label, number, len(lines))
        if numeric:
            _numbers(axes, across, values)
        else:
            _names(axes, across, values)
        axes.set_ylabel(f"test {score} (%)", parse_math=False)
        axes.grid(axis="both" if numeric else "y", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(scores) :]:
        axes.set_visible(False)
    if len(lines) > 1:
        told = page.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False, fontsize=8.5)
        for text in told.get_texts():
            text.set_parse_math(False)
            text.set_family(families(text.get_text()))
    return page


def shown_setting(sweep: Sweep) -> tuple[str, bool]:
    """The setting that a sweep is drawn over: the first whose values are all numbers, or the first one; and whether they are."""
    numeric = [name for name, values in sweep.vary.items() if all(map(_is_number, values))]
    return (numeric or list(sweep.vary))[0], bool(numeric)


def check_beside(across: str, scores: Sequence[str], sweeps: Mapping[str, Sweep]) -> None:
    """Whether sweeps can be drawn over a setting, with these scores, of which there are none before the first run has ended.

    Raises:
      ValueError: naming a sweep that does not vary the setting, has no finished run, or lacks a score.
    """
    for name, sweep in sweeps.items():
        if across not in sweep.vary:
            raise ValueError(f"{name} varies {', '.join(sweep.vary)}, not {across}")
        lacking = [score for score in scores if score not in sweep.scores]
        if lacking or not sweep.scores:
            raise ValueError(f"{name}: no finished run has {', '.join(lacking or ['a score'])}")


def _labelled(sweep: Sweep, across: str, name: str) -> dict[str, list[tuple[int, Scored]]]:
    """{what its cells have in common: its cells} of each line, each with the place of the shown setting among its values."""
    settings = list(sweep.vary)
    place = settings.index(across)
    lines: dict[str, list[tuple[int, Scored]]] = {}
    for each in sweep.scored():
        others = [f"{setting}={value}" for setting, value in zip(settings, each.cell.values, strict=True) if setting != across]
        label = shown(": ".join(part for part in (name, ", ".join(others)) if part))
        lines.setdefault(label, []).append((place, each))
    return lines


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis spaces some different values in rising order more evenly than a linear one."""
    if len(values) < 3 or min(values) <= 0:
        return False
    gaps = [np.diff(np.asarray(values, float)), np.diff(np.log(np.asarray(values, float)))]
    linear, logarithmic = (float(gap.std() / gap.mean()) for gap in gaps)
    return logarithmic < linear and not math.isclose(logarithmic, linear)


def _line(axes: Axes, points: Sequence[Point], label: str, number: int) -> None:
    xs, ys, errors = zip(*points, strict=True)
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    bars = None if np.isnan(errors).all() else errors
    axes.errorbar(xs, ys, yerr=bars, color=colour, marker=marker, markersize=4.5, linewidth=1.4, capsize=3, elinewidth=1, label=label)


def _numbers(axes: Axes, name: str, values: Sequence[float]) -> None:
    """The axis of a setting: a tick a value, shares in percent."""
    if is_logarithmic(values):
        axes.set_xscale("log")
    percent = name in SHARES
    axes.set_xticks(values, [f"{100 * value:g}" if percent else f"{value:g}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"{SHARES[name]} (%)" if percent else name, parse_math=False)


def _bars(axes: Axes, points: Sequence[Point], label: str, number: int, lines: int) -> None:
    """Bars at whole numbers, those of several lines side by side."""
    width, colour = 0.8 / lines, COLOURS[number % len(COLOURS)]
    places, heights, errors = zip(*points, strict=True)
    at = np.array(places) + (number - (lines - 1) / 2) * width
    axes.bar(at, heights, width * 0.88, color=tint(colour, 0.35), edgecolor=colour, linewidth=0.7, label=label)
    if not np.isnan(errors).all():
        axes.errorbar(at, heights, yerr=errors, fmt="none", ecolor=colour, capsize=3, elinewidth=1)


def _names(axes: Axes, name: str, values: Sequence[Any]) -> None:
    """The axis of a setting whose values are no numbers."""
    ticks = [shown(str(value)) for value in values]
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if max(map(len, ticks)) > 10 else {}
    axes.set_xticks(range(len(values)), ticks, fontsize=9, parse_math=False, family=families("".join(ticks)), **slanted)
    axes.set_xlabel(name, parse_math=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
