"""Draws photos with boxes and crops, and sentences with entities and arrows, onto a page: axes in points with y downwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from mmre_jax.analysis import bidi
from mmre_jax.analysis.fonts import families, shown, shown_word
from mmre_jax.analysis.layout import Arc, Frame, Gallery, SentenceLayout, Span, arrange, lay_out, shorten, wrap
from mmre_jax.records import Box

INK, FAINT, LINE = "#222222", "#808080", "#bdbdbd"
COLOURS = ("#1f5fa8", "#b3501b", "#2b7a3d", "#7d3a94", "#a3263f", "#0f7c86", "#8a6a00", "#4c4cb8")
ROLES = {"head": "#cfe3f7", "tail": "#fbdcc2", "head, tail": "#e3d5f0", "": "#ececec"}  # fill of an entity's box

WORD, LABEL, CAPTION = 12.0, 9.0, 7.5  # font sizes
GAP = 7.0  # between words
LANE = 15.0
BOX, ROW, BETWEEN = 17.0, 10.0, 10.0  # heights of an entity's box, of a row of captions, and of the space between lines
HEADROOM = 8.0  # for arrow heads below the lowest lane
CORNER = 5.0  # radius where an arrow turns
DOTS, MOST_PIXELS = 144, 20_000  # resolution, and the longest side of a picture


class Look(NamedTuple):
    """How a mention is drawn: the caption below it, the colours of its box, of the box's edge and of the caption, the edge's line style."""

    caption: str
    fill: str = ROLES[""]
    edge: str = LINE
    ink: str = FAINT
    style: str = "-"


def tint(colour: str, share: float = 0.18) -> str:
    """A colour thinned with white, for fills behind words."""
    return to_hex([1 - share * (1 - part) for part in to_rgb(colour)])


def measure(size: float) -> Callable[[str], float]:
    """A function from text to its width in points at this font size."""

    def width(text: str) -> float:
        return text_to_path.get_text_width_height_descent(text, FontProperties(family=families(text), size=size), False)[0]

    return width


def new_page(width: float, height: float) -> tuple[Figure, Axes]:
    """A white figure of this size in points, and axes over all of it: points from the upper left corner. Very long ones are coarser."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=min(DOTS, MOST_PIXELS * 72 / max(width, height)), facecolor="white")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.set_axis_off()
    return figure, page


def write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    size: float,
    colour: str,
    *,
    across: str = "left",
    down: str = "baseline",
    above: float = 4,
) -> Text:
    """Writes text as it stands, never as a formula, in upright fonts that have its letters (slanted ones have fewer).

    Args:
      across, down: which part of the text is at (x, y), as matplotlib calls it.
      above: what has a lower number is behind it.
    """
    look = {"fontsize": size, "color": colour, "family": families(text)}
    return axes.text(x, y, text, ha=across, va=down, zorder=above, parse_math=False, **look)


def fitted(text: str, limit: float, size: float) -> str:
    """`text` as it can be drawn, shortened to a width in points; on a screen's grid letters come out up to 5 % wider than measured."""
    return shorten(shown(text), 0.95 * limit, measure(size))


def sentence(
    words: Sequence[str], captions: Mapping[Span, str], arrows: Sequence[tuple[Span, Span, str]], limit: float
) -> tuple[list[str], SentenceLayout]:
    """The words of a sentence as they are drawn, and where they and all about them go.

    Args:
      captions: below each mention.
      arrows: (head, tail, label) of each relation.
      limit: width of the text block in points.
    """
    wide, label, caption = measure(WORD), measure(LABEL), measure(CAPTION)
    levels = bidi.levels(words)
    drawn = [bidi.marked(shorten(shown_word(word), limit, wide), levels[2 * place]) for place, word in enumerate(words)]
    layout = lay_out(
        [wide(word) for word in drawn],
        {span: caption(text) for span, text in captions.items()},
        [(head, tail, label(text) + 4) for head, tail, text in arrows],
        gap=GAP,
        limit=limit,
        levels=levels,
        right_to_left=bidi.runs_right_to_left(words),
    )
    return drawn, layout


def paragraph(text: str, limit: float) -> list[str]:
    """`text` in lines no wider than `limit` points at the label's font size."""
    wide = measure(LABEL)
    words = [shorten(word, limit, wide) for word in shown(text).split()]
    lines: dict[int, list[str]] = {}
    for word, (line, _) in zip(words, wrap([wide(word) for word in words], wide("a a") - wide("aa"), limit), strict=True):
        lines.setdefault(line, []).append(word)
    return [" ".join(line) for line in lines.values()]


def sentence_height(layout: SentenceLayout) -> float:
    """Height in points of what `draw_sentence` draws."""
    return sum(_line_height(lanes, rows) for lanes, rows in zip(layout.lanes, layout.rows, strict=True))


def _line_height(lanes: int, rows: int) -> float:
    return _above(lanes) + BOX + rows * ROW + BETWEEN


def _above(lanes: int) -> float:
    return HEADROOM + lanes * LANE if lanes else 0.0


def draw_sentence(
    page: Axes,
    left: float,
    top: float,
    words: Sequence[str],
    looks: Mapping[Span, Look],
    layout: SentenceLayout,
    arrows: Sequence[tuple[str, str, str]],
) -> None:
    """Draws words, entities and arrows at (left, top).

    Args:
      looks: of each mention of the layout.
      arrows: (label, colour, line style) of each arc of the layout.
    """
    bases = []  # y of each line's words' middle
    for lanes, rows in zip(layout.lanes, layout.rows, strict=True):
        bases.append(top + _above(lanes) + BOX / 2)
        top += _line_height(lanes, rows)
    for span in sorted(looks, key=lambda span: span[0] - span[1]):  # long ones first: a mention inside another is drawn over it
        look = looks[span]
        inner = any(other != span and other[0] <= span[0] and span[1] <= other[1] for other in looks)
        pad = 1.5 if inner else 3.5
        for piece in layout.mentions[span]:
            corner = (left + piece.left - pad, bases[piece.line] - BOX / 2 - pad + 3)
            size = (piece.right - piece.left + 2 * pad, BOX + 2 * pad - 6)
            line = {"edgecolor": look.edge, "linewidth": 0.6 if look.edge == LINE else 1.2, "linestyle": look.style}
            shape = {"boxstyle": "round,pad=0,rounding_size=3", "facecolor": look.fill}
            page.add_patch(FancyBboxPatch(corner, *size, **shape, **line, zorder=2))
        first = layout.mentions[span][0]
        y = bases[first.line] + BOX / 2 + 6.5 + ROW * layout.captions[span]
        write(page, left + first.left, y, look.caption, CAPTION, look.ink, down="center")
    for word, (line, x) in zip(words, layout.words, strict=True):
        write(page, left + x, bases[line] + 4, word, WORD, INK)
    for arc, (label, colour, style) in zip(layout.arcs, arrows, strict=True):
        _draw_arc(page, left, bases, arc, label, colour, style)


def _draw_arc(page: Axes, left: float, bases: Sequence[float], arc: Arc, label: str, colour: str, style: str) -> None:
    def height(line: int, lane: int) -> float:
        return bases[line] - BOX / 2 - HEADROOM - LANE * (lane + 0.5)

    (head_line, head_x), (tail_line, tail_x) = arc.head, arc.tail
    head_y, tail_y = height(head_line, arc.head_lane), height(tail_line, arc.tail_lane)
    corners = [(head_x, head_y), (tail_x, tail_y)]
    if arc.turn is not None:
        corners[1:1] = [(arc.turn, head_y), (arc.turn, tail_y)]
    start, end = bases[head_line] - BOX / 2 - 0.5, bases[tail_line] - BOX / 2 - 0.5
    points = [(left + x, y) for x, y in [(head_x, start), *corners, (tail_x, end)]]
    line = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.3}
    page.add_patch(FancyArrowPatch(path=_rounded(points), color=colour, linestyle=style, **line, joinstyle="round", zorder=3))
    label_line, lane, middle = arc.label
    text = write(page, left + middle, height(label_line, lane), label, LABEL, colour, across="center", down="center", above=5)
    text.set_bbox({"boxstyle": "square,pad=0.12", "facecolor": "white", "edgecolor": "none"})


def _rounded(points: Sequence[tuple[float, float]]) -> Path:
    """The polyline through `points` with its corners rounded."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, at, after in zip(points, points[1:], points[2:], strict=False):
        for other, code in ((before, Path.LINETO), (after, Path.CURVE3)):
            length = math.dist(at, other)
            reach = min(CORNER, length / 2) / length if length else 0.0
            if code == Path.CURVE3:
                vertices.append(at)
                codes.append(code)
            vertices.append((at[0] + (other[0] - at[0]) * reach, at[1] + (other[1] - at[1]) * reach))
            codes.append(code)
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def gallery(frame: Frame, picture: np.ndarray | None, crops: Sequence[tuple[np.ndarray, str]]) -> Gallery:
    """Where `draw_pictures` puts them.

    Raises:
      ValueError: if a picture is not uint8 [H, W, 3].
    """
    return arrange(frame, None if picture is None else _size(picture), [_size(crop) for crop, _ in crops])


def draw_pictures(
    figure: Figure,
    frame: Frame,
    picture: np.ndarray | None,
    crops: Sequence[tuple[np.ndarray, str]],
    boxes: Sequence[Box],
) -> None:
    """Draws the photo with numbered boxes, or a 'no picture' panel, and the crops right of it as large as they fit.

    Args:
      frame: left, top, width, height in points, from the figure's upper left corner.
      picture: uint8 [H, W, 3], or None.
      crops: (uint8 [h, w, 3], caption); crop i is framed in the colour of box i.
      boxes: normalised (x_min, y_min, x_max, y_max).

    Raises:
      ValueError: if a picture is not uint8 [H, W, 3].
    """
    places = gallery(frame, picture, crops)
    panel = _panel(figure, places.photo)
    if picture is None:
        panel.set_facecolor("#f3f3f3")
        panel.text(0.5, 0.5, "no picture", transform=panel.transAxes, ha="center", va="center", color=FAINT, fontsize=11)
    else:
        panel.imshow(picture, aspect="auto", extent=(0, 1, 1, 0))
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            colour = COLOURS[number % len(COLOURS)]
            panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.8))
            tag = {"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"}
            panel.text(x0, y0, str(number + 1), color="white", fontsize=CAPTION, va="top", ha="left", bbox=tag, clip_on=True)
        panel.set(xlim=(0, 1), ylim=(1, 0))
    for number, ((crop, caption), place) in enumerate(zip(crops, places.crops, strict=True)):
        panel = _panel(figure, place, COLOURS[number % len(COLOURS)])
        panel.imshow(crop, aspect="auto")
        text, below_it = fitted(caption, places.side, CAPTION), (0, -4)
        look = {"fontsize": CAPTION, "color": FAINT, "family": families(text), "parse_math": False}
        panel.annotate(text, (0, 0), below_it, "axes fraction", "offset points", va="top", **look)


def _panel(figure: Figure, frame: Frame, colour: str = LINE) -> Axes:
    """Axes without ticks at a place given in points from the upper left corner."""
    left, top, width, height = frame
    across, down = figure.get_size_inches() * 72
    panel = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set(color=colour, linewidth=1.5 if colour != LINE else 0.8)
    return panel


def _size(picture: np.ndarray) -> tuple[int, int]:
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(f"a picture is uint8 [H, W, 3], found {picture.dtype} {list(picture.shape)}")
    return picture.shape[0], picture.shape[1]
