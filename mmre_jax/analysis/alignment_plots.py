"""Which token looks at which picture, as a table of shares below the pictures (IFAformer, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mmre_jax.analysis.annotate import CAPTION, DOTS, FAINT, INK, LABEL, fitted, paragraph
from mmre_jax.analysis.fonts import families

CELL, ROW, NAMES = 0.95, 0.2, 1.1  # inches: width of a picture, height of a token, width of the tokens' names


def shares(values: np.ndarray, tokens: Sequence[str], pictures: Sequence[np.ndarray], names: Sequence[str], title: str) -> Figure:
    """Shares [L, K] of L tokens for K pictures: a column below each picture, a number and a colour in each cell, one scale for all.

    Args:
      pictures: uint8 [S, S, 3] each, as the network saw them.  names: of the pictures.  title: lines.
    """
    count, across = values.shape
    width = max(NAMES + CELL * across + 0.2, 4.8)
    lines = [piece for line in title.split("\n") for piece in paragraph(line, 72 * (width - 0.4))]
    above, below = 0.35 + 0.17 * len(lines), ROW * count
    height = above + CELL + below + 0.2
    figure = Figure(figsize=(width, height), dpi=DOTS, facecolor="white")
    text = "\n".join(lines)
    figure.text(0.2 / width, 1 - 0.1 / height, text, fontsize=LABEL, color=INK, va="top", parse_math=False, family=families(text))
    for number, (pixels, name) in enumerate(zip(pictures, names, strict=True)):
        left = (NAMES + CELL * number + 0.04) / width
        panel = figure.add_axes((left, 1 - (above + CELL) / height, (CELL - 0.08) / width, (CELL - 0.08) / height))
        panel.imshow(pixels, interpolation="nearest", aspect="auto")
        panel.set(xticks=[], yticks=[])
        panel.set_title(name, fontsize=CAPTION, color=FAINT, pad=2)
    heat = figure.add_axes((NAMES / width, 0.15 / height, CELL * across / width, below / height))
    norm = Normalize(0, float(values.max()) or 1.0)
    heat.imshow(values, cmap="Reds", norm=norm, aspect="auto", interpolation="nearest")
    shown = [fitted(token, 70 * NAMES, CAPTION) for token in tokens]
    heat.set_yticks(range(count), shown, fontsize=CAPTION, parse_math=False, family=families("".join(shown)))
    heat.set_xticks([])
    heat.tick_params(length=0)
    heat.spines[:].set_visible(False)
    for row, column in np.ndindex(values.shape):
        ink = "white" if norm(values[row, column]) > 0.6 else INK
        heat.text(column, row, f"{values[row, column]:.3f}", fontsize=CAPTION - 1, color=ink, ha="center", va="center")
    return figure
