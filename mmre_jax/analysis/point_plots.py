"""Points in a plane, coloured in two ways (HVFormer, figure 8)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from mmre_jax.analysis.annotate import CAPTION, COLOURS, DOTS, FAINT, LABEL, LINE


def two_colourings(points: np.ndarray, level: np.ndarray, group: np.ndarray, title: str) -> Figure:
    """The same points twice: coloured by level, on a scale; and, where there are several, by group.

    Args:
      points: float [n, 2].  level: int [n].  group: str [n], few different ones.
    """
    groups = np.unique(group)[::-1]
    panels = 1 + (len(groups) > 1)
    figure = Figure(figsize=(5.2 * panels, 4.9), dpi=DOTS, facecolor="white", layout="constrained")
    figure.suptitle(title, fontsize=LABEL + 1, parse_math=False)
    left, *right = figure.subplots(1, panels, squeeze=False)[0]
    size = float(np.clip(9000 / len(points), 4, 22))
    dots = left.scatter(*points.T, c=level, cmap="viridis", s=size, linewidths=0)
    bar = figure.colorbar(dots, ax=left, ticks=np.unique(level), aspect=30, pad=0.02)
    bar.set_label("level", fontsize=LABEL)
    bar.ax.tick_params(labelsize=CAPTION)
    left.set_title("by level, 0 being the embedded patches", fontsize=LABEL, color=FAINT)
    for panel in right:
        for number, name in enumerate(groups):
            own = points[group == name]
            panel.scatter(*own.T, color=COLOURS[4 * number % len(COLOURS)], s=size, linewidths=0, alpha=0.7, label=str(name))
        panel.legend(fontsize=LABEL, frameon=False, markerscale=2)
        panel.set_title("by picture", fontsize=LABEL, color=FAINT)
    for panel in (left, *right):
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set(color=LINE, linewidth=0.8)
    return figure
