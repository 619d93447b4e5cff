"""Values of gates: over the stages of an image encoder by text layer (RSRNeT), and DGF-PT's, with the right and with other pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmre_jax.analysis.annotate import CAPTION, COLOURS, DOTS, FAINT, INK, LABEL, LINE, tint
from mmre_jax.analysis.fonts import families, shown

OWN, OTHER = COLOURS[0], COLOURS[1]


def stages(means: np.ndarray, spreads: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """A panel for each of K kinds of pictures: rows of N text layers over S stages, weights as colours, with their standard deviation.

    Args:
      means, spreads: float [K, N, S].  names: K, of the pictures.
    """
    count, layers, across = means.shape
    width = max(1.3 + count * (0.5 + 0.8 * across), 4.8)
    figure = Figure(figsize=(width, 1.5 + 0.36 * layers), dpi=DOTS, facecolor="white", layout="constrained")
    figure.suptitle(title, fontsize=LABEL + 1, parse_math=False, family=families(title))
    panels = figure.subplots(1, count, squeeze=False, sharey=True)[0]
    for panel, mean, spread, name in zip(panels, means, spreads, names, strict=True):
        image = panel.imshow(mean, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        for row, column in np.ndindex(mean.shape):
            ink = INK if mean[row, column] > 0.6 else "white"
            words = f"{mean[row, column]:.2f} \N{PLUS-MINUS SIGN} {spread[row, column]:.2f}"
            panel.text(column, row, words, fontsize=CAPTION - 0.5, color=ink, ha="center", va="center")
        panel.set_xticks(range(across), [f"stage {n + 1}" for n in range(across)], fontsize=CAPTION)
        panel.set_yticks(range(layers), [f"layer {n + 1}" for n in range(layers)], fontsize=CAPTION)
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        panel.set_title(name, fontsize=LABEL, color=FAINT)
    bar = figure.colorbar(image, ax=panels, aspect=20, pad=0.02)
    bar.set_label("weight of the stage", fontsize=CAPTION, color=FAINT)
    bar.ax.tick_params(labelsize=CAPTION)
    bar.outline.set_visible(False)
    return figure


def fusion(
    own: np.ndarray, other: np.ndarray, names: Sequence[str], groups: Mapping[str, np.ndarray], labels: Sequence[str], title: str
) -> Figure:
    """Above, the distribution of each of N numbers over records, with their own and with other records' pictures; below, of the two gates
    and of how far the text is moved by relation, with their own.

    Args:
      own, other: float [n, N].  names: N.  groups: {relation: bool [n]}, labels: how those are called.
    """
    wide = max(7.5, 1.5 * len(names), 1.2 + 0.5 * len(groups))
    figure = Figure(figsize=(wide, 6.8), dpi=DOTS, facecolor="white", layout="constrained")
    figure.suptitle(title, fontsize=LABEL + 1, parse_math=False)
    above, below = figure.subfigures(2, 1, height_ratios=(2.5, 4.3))
    for panel, number in zip(above.subplots(1, len(names)), range(len(names)), strict=True):
        _boxes(panel, [own[:, number], other[:, number]], [OWN, OTHER])
        panel.set_title(names[number], fontsize=LABEL, color=FAINT)
        panel.set_xticks([1, 2], ["own\npicture", "another's"], fontsize=CAPTION)
    rows = [names.index(name) for name in BY_RELATION]
    panels = below.subplots(len(rows), 1, sharex=True)
    for panel, number in zip(panels, rows, strict=True):
        _boxes(panel, [own[chosen, number] for chosen in groups.values()], [OWN] * len(groups))
        panel.set_ylabel(names[number], fontsize=LABEL)
    ticks = [shown(label) for label in labels]
    look = {"fontsize": CAPTION, "parse_math": False, "family": families("".join(ticks)), "rotation": 30, "ha": "right"}
    panels[-1].set_xticks(range(1, len(ticks) + 1), ticks, **look)
    return figure


BY_RELATION = ("|gamma|", "|beta|", "moved by")


def _boxes(panel: Axes, values: Sequence[np.ndarray], colours: Sequence[str]) -> None:
    """Quartiles, median, and whiskers to the 5th and 95th percentile."""
    drawn = panel.boxplot(values, whis=(5, 95), showfliers=False, patch_artist=True, widths=0.6)
    for line in (*drawn["whiskers"], *drawn["caps"]):
        line.set(color=LINE)
    for box, median, colour in zip(drawn["boxes"], drawn["medians"], colours, strict=True):
        box.set(facecolor=tint(colour, 0.4), edgecolor=colour)
        median.set(color=colour, linewidth=1.6)
    panel.tick_params(labelsize=CAPTION)
    panel.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
