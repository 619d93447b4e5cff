"""Weights of experts: over training and in boxes (HVFormer, figures 9 and 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mmre_jax.analysis.annotate import CAPTION, DOTS, FAINT, LABEL, LINE, tint
from mmre_jax.analysis.fonts import families, shown

ACROSS = 4  # panels in a line


def colours(experts: int) -> list[str]:
    """Grey for the text-only expert, then along a scale from the lowest level to the highest."""
    scale = colormaps["viridis"]
    return [FAINT, *(to_hex(scale(0.9 * n / max(experts - 2, 1))) for n in range(experts - 1))]


def training(steps: np.ndarray, means: np.ndarray, weights: np.ndarray, names: Sequence[str], split: str, step: int) -> Figure:
    """Left each expert's mean weight on val over steps, means [T, E]; right the distribution of weights [n, E] at one checkpoint."""
    figure = Figure(figsize=(6.4 + 0.34 * len(names), 3.6), dpi=DOTS, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(5, 1.4 + 0.34 * len(names)), sharey=True)
    for number, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
        left.plot(steps, means[:, number], color=colour, marker="o", markersize=3, linewidth=1.4, label=name)
    left.set_xlabel("step", fontsize=LABEL)
    left.set_ylabel("weight of the expert", fontsize=LABEL)
    left.set_title("in training, mean on val", fontsize=LABEL, color=FAINT)
    left.legend(fontsize=CAPTION, frameon=False, ncols=1 + (len(names) > 6))
    _boxes(right, weights, names)
    right.set_title(f"at step {step:,}, on {split}", fontsize=LABEL, color=FAINT)
    for panel in (left, right):
        _plain(panel)
    left.set_ylim(0, None)
    return figure


def relations(groups: Mapping[str, np.ndarray], titles: Mapping[str, str], names: Sequence[str], title: str) -> Figure:
    """A panel for each relation: the distribution of its weights [n, E], n markers."""
    down = -(-len(groups) // ACROSS)
    across = min(ACROSS, len(groups))
    figure = Figure(figsize=(0.6 + across * (1.3 + 0.18 * len(names)), 0.8 + 2.1 * down), dpi=DOTS, facecolor="white", layout="constrained")
    figure.suptitle(title, fontsize=LABEL + 1, parse_math=False)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for number, panel in enumerate(panels.flat):
        panel.tick_params(labelbottom=number + across >= len(groups))
        if number >= len(groups):
            panel.set_axis_off()
    for panel, (label, weights) in zip(panels.flat, groups.items(), strict=False):
        _boxes(panel, weights, names)
        name = shown(titles[label])
        panel.set_title(f"{name}  ({len(weights) // 2:,})", fontsize=CAPTION + 0.5, parse_math=False, family=families(name))
        _plain(panel)
        panel.set_ylim(0, 1)
    for panel in panels[:, 0]:
        panel.set_ylabel("weight", fontsize=CAPTION)
    return figure


def _boxes(panel: Axes, weights: np.ndarray, names: Sequence[str]) -> None:
    """Quartiles, whiskers to the 5th and 95th percentile, and the median, of each expert."""
    drawn = panel.boxplot(weights, whis=(5, 95), showfliers=False, patch_artist=True, widths=0.65)
    for line in (*drawn["whiskers"], *drawn["caps"]):
        line.set(color=LINE)
    for box, median, colour in zip(drawn["boxes"], drawn["medians"], colours(len(names)), strict=True):
        box.set(facecolor=tint(colour, 0.45), edgecolor=colour)
        median.set(color=colour, linewidth=1.6)
    panel.set_xticks(range(1, len(names) + 1), names, fontsize=CAPTION, rotation=90 if len(names) > 5 else 45)


def _plain(panel: Axes) -> None:
    panel.tick_params(labelsize=CAPTION)
    panel.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
