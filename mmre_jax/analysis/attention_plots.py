"""What words and queries look at in the photo (QEOT fig. 3 and 4).

Each function returns a matplotlib Figure of its own; none touches pyplot or any other global state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure

from mmre_jax.analysis import annotate
from mmre_jax.analysis.annotate import CAPTION, FAINT, INK, LABEL, fitted
from mmre_jax.analysis.fonts import families
from mmre_jax.analysis.triple_plots import frame_box
from mmre_jax.records import Box

HEAT, STRENGTH = "#d62728", 0.8  # of the largest weight: its colour and opacity
_GREY = 0.75  # a middle tone of the photo behind
_ENDS = [(_GREY,) * 3, tuple(STRENGTH * part + (1 - STRENGTH) * _GREY for part in to_rgb(HEAT))]


def selective_attention_figure(
    tokens: Sequence[str], photo: np.ndarray, attention: np.ndarray, *, grid: tuple[int, int], maps: int = 12
) -> Figure:
    """What each cell of the photo attends to in the text (QEOT fig. 3), and, the other way about, from where a token is attended to.

    Args:
      tokens: L tokens or words.
      photo: uint8 [H, W, 3], as the system saw it: the cells divide it evenly.
      attention: float [h * w, L], a distribution over the tokens for each cell, cells row by row.
      grid: h, w.
      maps: how many tokens get a picture of their own: those with the most attention, in the order of the text.

    Raises:
      ValueError: if shapes do not fit.
    """
    rows, columns = grid
    if attention.shape != (rows * columns, len(tokens)):
        expected = f"({rows * columns}, {len(tokens)})"
        raise ValueError(f"{rows} x {columns} cells and {len(tokens)} tokens need attention of shape {expected}, found {attention.shape}")
    names = [fitted(token, 90, CAPTION) for token in tokens]
    look = {"parse_math": False, "family": families("".join(names))}
    chosen = sorted(np.argsort(-attention.mean(axis=0), kind="stable")[:maps].tolist())
    lines = -(-len(chosen) // 6)
    upper, lower = max(3.6, 0.15 * len(tokens) + 1.0), lines * (0.4 + 1.6 * photo.shape[0] / photo.shape[1]) + 0.3
    figure = Figure(figsize=(10.5, upper + lower), dpi=144, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    above, below = figure.subfigures(2, 1, height_ratios=(upper, lower))
    picture, heat = above.subplots(1, 2, width_ratios=(3.2, 6.8))
    _show(picture, photo, None)
    _draw_cells(picture, rows, columns)
    picture.set_anchor("N")
    picture.set_title("cells", fontsize=LABEL, color=FAINT)
    image = heat.imshow(attention.T, cmap="Reds", vmin=0, aspect="auto", interpolation="nearest")
    heat.set_yticks(range(len(tokens)), names, fontsize=CAPTION, **look)
    heat.set_xticks(range(0, rows * columns, columns))
    heat.tick_params(labelsize=CAPTION)
    for cell in range(columns, rows * columns, columns):
        heat.axvline(cell - 0.5, color=annotate.LINE, linewidth=0.6)
    heat.set_xlabel("cell, row by row", fontsize=LABEL)
    heat.set_title("share of each cell's attention", fontsize=LABEL, color=FAINT)
    above.colorbar(image, ax=heat, shrink=0.8, aspect=30).ax.tick_params(labelsize=CAPTION)
    some = f"the {len(chosen)} tokens of {len(tokens)} with the most attention" if len(chosen) < len(tokens) else "each token"
    below.suptitle(f"attention to {some}, on the scale above", fontsize=LABEL, color=FAINT)
    for panel, token in _panels(below.subplots(lines, 6, squeeze=False).flat, chosen):
        _show(panel, photo, attention[:, token].reshape(grid), float(attention.max()))
        panel.set_title(names[token], fontsize=LABEL, **look)
    return figure


@dataclasses.dataclass(frozen=True)
class QueryPanel:
    """What is drawn of one query.

    weights: float [h, w], its cross-attention over the cells of the photo.
    caption: lines, of which the first is the heading.
    colour: of its boxes and its caption.
    predicted, gold: the box it says, and the gold box that is its own; None without.
    """

    weights: np.ndarray
    caption: str
    colour: str = FAINT
    predicted: Box | None = None
    gold: Box | None = None


def query_attention_figure(photo: np.ndarray, panels: Sequence[QueryPanel], gold: Sequence[tuple[Box, str]] = ()) -> Figure:
    """Where each query looks in the photo, with the box it predicts and the gold box it should (QEOT fig. 4).

    Args:
      photo: uint8 [H, W, 3]: the cells of the maps divide it evenly.
      panels: one a query, in the order in which they are drawn. Every map has a colour scale of its own, which its bar shows.
      gold: annotated boxes and their colours, drawn into the photo alone.

    Raises:
      ValueError: if a picture is not uint8 [H, W, 3] or a map has not two axes.
    """
    if wrong := [panel.weights.shape for panel in panels if panel.weights.ndim != 2]:
        raise ValueError(f"a query's map has rows and columns, found shape {wrong[0]}")
    count = len(panels) + 1
    across = min(min((4, 5, 3), key=lambda columns: -count % columns), count)  # the fewest empty places
    down = -(-count // across)
    texts = [[fitted(line, 165, CAPTION) for line in panel.caption.split("\n")] for panel in panels]
    tall = 2.2 * photo.shape[0] / photo.shape[1] + 0.2 + 0.14 * max(map(len, texts), default=1)
    figure = Figure(figsize=(2.7 * across, tall * down + 0.3), dpi=annotate.DOTS, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    first, *rest = figure.subplots(down, across, squeeze=False).flat
    _show(first, photo, None)
    for box, colour in gold:
        frame_box(first, box, colour, "--")
    first.set_title("photo and gold boxes" if gold else "photo", fontsize=LABEL, color=FAINT)
    figure.suptitle("shares of each query's attention, on a scale of its own", fontsize=LABEL, color=FAINT)
    for axes, number in _panels(rest, range(len(panels))):
        panel, largest = panels[number], float(panels[number].weights.max())
        _show(axes, photo, panel.weights, largest)
        for box, style in ((panel.gold, "--"), (panel.predicted, "-")):
            if box is not None:
                frame_box(axes, box, panel.colour, style)
        look = {"fontsize": CAPTION, "color": panel.colour, "parse_math": False, "family": families("".join(texts[number]))}
        axes.set_title("\n".join(texts[number]), **look)
        scale = ScalarMappable(Normalize(0, largest or 1.0), LinearSegmentedColormap.from_list("heat", _ENDS))
        bar = figure.colorbar(scale, ax=axes, ticks=[0, largest] if largest else [0], shrink=0.9, aspect=24, pad=0.02)
        bar.ax.set_yticklabels(["0", f"{largest:.2g}"][: 1 + bool(largest)], fontsize=CAPTION - 1)
        bar.outline.set(edgecolor=annotate.LINE, linewidth=0.6)
    return figure


def _panels(panels: Iterable[Axes], items: Iterable[int]) -> Iterator[tuple[Axes, int]]:
    """Each item with a panel of its own; the panels left over are blank."""
    left = iter(items)
    for panel in panels:
        item = next(left, None)
        if item is None:
            panel.set_axis_off()
        else:
            yield panel, item


def _show(panel: Axes, photo: np.ndarray, weights: np.ndarray | None, largest: float = 1.0) -> None:
    """The photo in axes that run from 0 to 1; with weights [h, w], pale and grey below a red that is fullest at the largest weight."""
    if photo.ndim != 3 or photo.shape[-1] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"a picture is uint8 [H, W, 3], found {photo.dtype} {list(photo.shape)}")
    place = {"extent": (0, 1, 1, 0), "aspect": photo.shape[0] / photo.shape[1]}
    if weights is None:
        panel.imshow(photo, **place)
    else:
        panel.imshow(photo.mean(axis=-1) * 0.6 + 102, cmap="gray", vmin=0, vmax=255, **place)
        tint = np.empty((*weights.shape, 4))
        tint[..., :3] = to_rgb(HEAT)
        tint[..., 3] = STRENGTH * weights / max(largest, 1e-12)
        panel.imshow(tint, interpolation="nearest", **place)
    panel.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])
    panel.spines[:].set(color=annotate.LINE, linewidth=0.8)


def _draw_cells(panel: Axes, rows: int, columns: int) -> None:
    """The borders of the cells, and their numbers where there are few."""
    for count, line in ((columns, panel.axvline), (rows, panel.axhline)):
        for edge in range(1, count):
            line(edge / count, color="white", linewidth=0.6, alpha=0.8)
    if rows * columns <= 64:
        for cell in range(rows * columns):
            x, y = (cell % columns + 0.5) / columns, (cell // columns + 0.5) / rows
            back = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.65}
            panel.text(x, y, str(cell), fontsize=CAPTION - 1, color=INK, ha="center", va="center", bbox=back)
