"""Pictures of a comparison of runs: how their F1 differs by class, and how often they say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmre_jax.analysis.annotate import COLOURS, INK, tint
from mmre_jax.analysis.fonts import families, shown
from mmre_jax.analysis.plots import short_names

NAMED = 40  # the most classes that are drawn, those of most support


def differences(classes: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
    """The first run's F1 minus each other's as bars, a group a class, in falling order of support, with 95 % intervals as lines.

    Args:
      classes: as Comparison.classes has them. Those without support are left out, and those beyond NAMED.
      names: of the runs.
    """
    there = [row for row in classes if row["support"]][:NAMED]
    labels = short_names([row["name"] for row in there])
    ticks = [shown(f"{label}  {row['support']:,}") for label, row in zip(labels, there, strict=True)]
    others = names[1:]
    height = 0.8 / max(len(others), 1)
    page = Figure(figsize=(7.2, 1.4 + max(len(there) * max(0.26, 0.17 * len(others)), 0.6)), layout="constrained")
    axes = page.add_subplot()
    for place, other in enumerate(others):
        found = [row["against"][other] for row in there]
        at = np.arange(len(there)) + (place - (len(others) - 1) / 2) * height
        values = np.array([row["difference"] for row in found])
        colour = COLOURS[place % len(COLOURS)]
        name = shown(f"{names[0]} \N{MINUS SIGN} {other}")
        axes.barh(at, values, height * 0.86, color=tint(colour, 0.35), edgecolor=colour, linewidth=0.6, label=name)
        axes.hlines(at, [row["low"] for row in found], [row["high"] for row in found], color=colour, linewidth=1.4)
    axes.axvline(0, color=INK, linewidth=0.8)
    look = {"fontsize": 8, "parse_math": False, "family": families("".join(ticks))}
    axes.set_yticks(range(len(there)), ticks, **look)
    axes.set_ylim(len(there) - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.01), max(high, 0.01))
    axes.set_xlabel(f"difference of F1 (right of 0: {shown(names[0])} is better), with 95 % interval", parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_ylabel("classes, with their support")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    legend = page.legend(loc="outside upper center", frameon=False, fontsize=9, ncols=min(len(others), 3))
    for told in legend.get_texts():
        told.set_parse_math(False)
        told.set_family(families(told.get_text()))
    return page


def agreement(names: Sequence[str], same: np.ndarray, only: np.ndarray, right: np.ndarray) -> Figure:
    """Two matrices of runs: the share of records of which both say the same, and how many records the row has right and the column has not.

    Args:
      names: R runs.
      same: float [R, R].
      only: int [R, R]; its diagonal is not drawn.
      right: int [R], the records that each has wholly right, beside its name.
    """
    size = len(names)
    labels = [shown(name) for name in names]
    side = 1.5 + 0.7 * size
    page = Figure(figsize=(2 * side + 1.4, side + 0.6), layout="constrained")
    left, middle = page.subplots(1, 2)
    counts = np.ma.masked_array(only, np.eye(size, dtype=bool))
    panels = (
        (left, same, "Blues", [f"{value:.3f}" for value in same.ravel()], "share of records: both say the same", labels),
        (
            middle,
            counts,
            "Oranges",
            [f"{value:,}" for value in only.ravel()],
            "records: row right, column wrong",
            [f"{label}  {count:,}" for label, count in zip(labels, right.tolist(), strict=True)],
        ),
    )
    for axes, values, colours, cells, title, rows in panels:
        least = float(values.min()) if axes is left else 0.0
        axes.imshow(values, cmap=colours, vmin=min(least, 0.9 * float(values.max())), vmax=max(float(values.max()), 1e-9))
        look = {"fontsize": 8.5, "parse_math": False, "family": families("".join(rows))}
        axes.set_xticks(range(size), labels, rotation=30, ha="right", rotation_mode="anchor", **look)
        axes.set_yticks(range(size), rows, **look)
        axes.set_title(title, fontsize=9.5)
        axes.tick_params(length=0)
        norm = axes.images[0].norm
        for place, told in enumerate(cells):
            row, column = divmod(place, size)
            if np.ma.is_masked(values) and row == column:
                continue
            dark = float(norm(float(values[row, column]))) > 0.55
            axes.text(column, row, told, ha="center", va="center", fontsize=9, color="white" if dark else INK)
    middle.set_ylabel("runs, with the records each has right")
    return page
