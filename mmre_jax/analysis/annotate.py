"""Draws photos with boxes and crops, and sentences with entities and arrows, onto a page: axes in points with y downwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

from mmre_jax.analysis.layout import Arc, SentenceLayout, Span, printable, shorten, wrap
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


def shown(text: str) -> str:
    """`text` with what matplotlib's current font lacks (emoji, some scripts) replaced, so that drawing it never warns."""
    font = get_font(findfont(FontProperties()))
    return printable(text, lambda char: font.get_char_index(ord(char)) != 0)


def measure(size: float) -> Callable[[str], float]:
    """A function from text to its width in points at this font size."""
    font = FontProperties(size=size)
    return lambda text: text_to_path.get_text_width_height_descent(text, font, False)[0]


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
        page.text(left + first.left, y, look.caption, fontsize=CAPTION, color=look.ink, va="center", parse_math=False, zorder=4)
    for word, (line, x) in zip(words, layout.words, strict=True):
        page.text(left + x, bases[line] + 4, word, fontsize=WORD, color=INK, va="baseline", parse_math=False, zorder=4)
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
    back = {"boxstyle": "square,pad=0.12", "facecolor": "white", "edgecolor": "none"}
    place = (left + middle, height(label_line, lane))
    page.text(*place, label, fontsize=LABEL, color=colour, ha="center", va="center", bbox=back, parse_math=False, zorder=5)


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


def draw_pictures(
    figure: Figure,
    frame: tuple[float, float, float, float],
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
    left, top, width, height = frame
    share = 0.55 if crops else 1.0
    if picture is None:
        across = min(200.0, width * share)
        panel = _panel(figure, left, top, across, min(height, across * 0.75))
        panel.set_facecolor("#f3f3f3")
        panel.text(0.5, 0.5, "no picture", transform=panel.transAxes, ha="center", va="center", color=FAINT, fontsize=11)
    else:
        tall, wide = _size(picture)
        across = min(width * share, height * wide / tall)
        panel = _panel(figure, left, top, across, across * tall / wide)
        panel.imshow(picture, aspect="auto", extent=(0, 1, 1, 0))
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            colour = COLOURS[number % len(COLOURS)]
            panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.8))
            tag = {"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"}
            panel.text(x0, y0, str(number + 1), color="white", fontsize=CAPTION, va="top", ha="left", bbox=tag, clip_on=True)
        panel.set(xlim=(0, 1), ylim=(1, 0))
    _draw_crops(figure, (left + across + 16, top, width - across - 16, height), crops)


def _draw_crops(figure: Figure, frame: tuple[float, float, float, float], crops: Sequence[tuple[np.ndarray, str]]) -> None:
    left, top, width, height = frame
    gap, below = 10.0, 13.0
    sides = [
        (min(150.0, (width - gap * (columns - 1)) / columns, height / math.ceil(len(crops) / columns) - below - gap), columns)
        for columns in range(1, len(crops) + 1)
    ]
    side, columns = max(sides, default=(0.0, 1))
    for number, (crop, caption) in enumerate(crops):
        row, column = divmod(number, columns)
        x, y = left + column * (side + gap), top + row * (side + below + gap)
        tall, wide = _size(crop)
        scale = side / max(tall, wide)
        panel = _panel(figure, x, y, wide * scale, tall * scale, COLOURS[number % len(COLOURS)])
        panel.imshow(crop, aspect="auto")
        below_it = (0, -4)
        text = shorten(shown(caption), side, measure(CAPTION))
        panel.annotate(text, (0, 0), below_it, "axes fraction", "offset points", va="top", fontsize=CAPTION, color=FAINT, parse_math=False)


def _panel(figure: Figure, left: float, top: float, width: float, height: float, colour: str = LINE) -> Axes:
    """Axes without ticks at a place given in points from the upper left corner."""
    across, down = figure.get_size_inches() * 72
    panel = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set(color=colour, linewidth=1.5 if colour != LINE else 0.8)
    return panel


def _size(picture: np.ndarray) -> tuple[int, int]:
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(f"a picture is uint8 [H, W, 3], found {picture.dtype} {list(picture.shape)}")
    return picture.shape[0], picture.shape[1]
