"""Reliability diagrams: of predictions by their score, how many there are, and how many of them are right."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmre_jax.analysis.annotate import COLOURS, FAINT, INK
from mmre_jax.analysis.reliability import BINS, Reliability, equal_width
from mmre_jax.tasks.events import Events


def figure(found: Reliability) -> Figure:
    """Scores as the system gives them, and beside them the calibrated ones, if there are any.

    Above: for each of BINS bins of equal width the share of right predictions, a bar, and by how much the mean score differs, hatched.
    Below: how many predictions are in it.
    """
    sides = [("as predicted", found.raw)]
    if found.calibrated is not None and found.fitted is not None:
        sides.append((f"calibrated on {found.fitted.get('split', '?')}", found.calibrated))
    drawn = Figure(figsize=(0.6 + 3.4 * len(sides), 4.6), layout="constrained")
    axes = drawn.subplots(2, len(sides), sharex=True, squeeze=False, height_ratios=(3, 1))
    for (name, side), (above, below) in zip(sides, axes.T, strict=True):
        _side(above, below, side, f"{name}\n{found.split}")
    axes[0, 0].set_ylabel("share of right predictions")
    axes[1, 0].set_ylabel("predictions")
    return drawn


def _side(above: Axes, below: Axes, side: Events, title: str) -> None:
    bins = equal_width(side.score, side.right)
    edges, width = np.arange(BINS) / BINS, 1 / BINS
    full = bins.count > 0
    right, score = bins.right[full], bins.score[full]
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    above.bar(edges[full], right, width, align="edge", color=COLOURS[0], edgecolor="white", label="right")
    low, high = np.minimum(right, score), np.maximum(right, score)
    gap = {"color": (0, 0, 0, 0), "edgecolor": COLOURS[1], "hatch": "////", "linewidth": 0.8, "label": "off by"}
    above.bar(edges[full], high - low, width, bottom=low, align="edge", **gap)
    above.set(xlim=(0, 1), ylim=(0, 1))
    above.set_title(f"{title}: ECE {bins.error:.3f}", fontsize=9, color=INK)
    above.legend(loc="upper left", fontsize=8, frameon=False)
    below.bar(edges, bins.count, width, align="edge", color=FAINT, edgecolor="white")
    below.set_xlabel("score")
