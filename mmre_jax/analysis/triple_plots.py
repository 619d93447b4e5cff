"""Pictures of triples: boxes and entities in one colour, and what words and queries look at in the photo (QEOT fig. 3 and 4).

Each function returns a matplotlib Figure of its own; none touches pyplot or any other global state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from mmre_jax.analysis import annotate
from mmre_jax.analysis.annotate import CAPTION, COLOURS, FAINT, INK, LABEL, shown
from mmre_jax.analysis.layout import SentenceLayout, Span, lay_out, shorten
from mmre_jax.records import Box, Record, Triple, check_box, check_span
from mmre_jax.tasks.triple_metrics import strict_matches

Frame = tuple[float, float, float, float]  # left, top, right, bottom in points, of a panel

WIDTH, EDGE = 720.0, 18.0  # of the page, in points
PHOTO, TALLEST = 360.0, 300.0  # largest width and height of the photo
ROW, SAMPLE, TAG = 15.0, 30.0, 11.0  # of the list: its rows, the line before a text; height of a label in the photo
HEAT = "#d62728"


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A triple as it is drawn: its place in the list, its text there and in the photo, its colour, and a line for predicted or gold."""

    number: int
    triple: Triple
    text: str
    label: str
    colour: str
    style: str


def triples_figure(
    record: Record,
    predicted: Sequence[Triple],
    photo: np.ndarray | None,
    gold: Sequence[Triple] | None = None,
    *,
    iou: float = 0.5,
) -> Figure:
    """A record with its triples: boxes in the photo, entities in the sentence, one colour for an entity, one number for a triple.

    Args:
      record: its words are shown.
      predicted: framed with solid lines and listed with their scores.
      photo: uint8 [H, W, 3] of any size, or None where there was no picture or it was masked.
      gold: annotated triples, framed with dashed lines. Predictions are marked right or wrong by the strict measure, and gold triples
        that were not found are listed. None: nothing is known to be right.
      iou: overlap above which a box is right.

    Raises:
      RecordError: if a span or box does not fit.
      ValueError: if the photo is not uint8 [H, W, 3].
    """
    for side, triples in (("predicted", predicted), ("gold", gold or ())):
        for number, triple in enumerate(triples, 1):
            where = f"record {record.id}: {side} triple {number}"
            check_span(triple.mention.start, triple.mention.end, len(record.words), where)
            check_box(triple.box, where)
    colours = _entity_colours([*predicted, *(gold or ())])
    entries = _entries(record, predicted, gold, iou, colours)
    words, captions, layout = _sentence(record, entries, colours)
    tall = 150.0 if photo is None else TALLEST
    top = EDGE + 18
    below = top + max(tall, ROW * (len(entries) + 1)) + 16
    height = below + annotate.sentence_height(layout) + EDGE
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=144, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
    page.set_axis_off()
    page.text(EDGE, EDGE + 4, shown(record.id), fontsize=9, color=FAINT, va="center", parse_math=False)
    annotate.draw_pictures(figure, (EDGE, top, PHOTO, tall), photo, [], [])
    panel = figure.axes[-1]
    across = panel.get_position().width * WIDTH
    if photo is not None:
        for triple in gold or ():
            _frame(panel, triple.box, colours[triple.mention.span], "--")
        for entry in entries:
            if entry.style == "-":
                _frame(panel, entry.triple.box, entry.colour, "-")
        _draw_labels(panel, across, panel.get_position().height * height, entries)
    _draw_list(page, EDGE + across + 22, top, entries, gold is not None)
    _draw_entities(page, below, captions, layout, colours)
    annotate.draw_sentence(page, EDGE, below, words, {}, layout, [])
    return figure


def _entity_colours(triples: Sequence[Triple]) -> dict[Span, str]:
    spans = sorted({triple.mention.span for triple in triples})
    return {span: COLOURS[number % len(COLOURS)] for number, span in enumerate(spans)}


def _entries(
    record: Record, predicted: Sequence[Triple], gold: Sequence[Triple] | None, iou: float, colours: dict[Span, str]
) -> list[_Entry]:
    """The predictions with their marks, then the gold triples that none of them found."""
    matches = strict_matches(gold or (), predicted, iou)
    right, found = {p for _, p in matches}, {g for g, _ in matches}
    missed = [triple for index, triple in enumerate(gold or ()) if index not in found]
    entries = []
    for index, triple in enumerate((*predicted, *missed)):
        name = shown(f"{record.text(triple.mention.span)}: {triple.label}")
        if index < len(predicted):
            score = "" if triple.score is None else f"  {triple.score:.2f}"
            mark = "" if gold is None else "  \N{CHECK MARK}" if index in right else "  \N{BALLOT X}"
            text, style = shown(name + score + mark), "-"
        else:
            text, style = shown(f"{name}  missed"), "--"
        entries.append(_Entry(index + 1, triple, text, name, colours[triple.mention.span], style))
    return entries


def _sentence(record: Record, entries: Sequence[_Entry], colours: dict[Span, str]) -> tuple[list[str], dict[Span, str], SentenceLayout]:
    """The words as drawn, the caption of each entity (the numbers of its triples), and where all of it goes."""
    limit = WIDTH - 2 * EDGE
    word_width, caption_width = annotate.measure(annotate.WORD), annotate.measure(CAPTION)
    words = [shorten(shown(word), limit, word_width) for word in record.words]
    numbers = {span: [str(entry.number) for entry in entries if entry.triple.mention.span == span] for span in colours}
    captions = {span: shorten(", ".join(each), limit, caption_width) for span, each in numbers.items()}
    widths = {span: caption_width(caption) for span, caption in captions.items()}
    return words, captions, lay_out([word_width(word) for word in words], widths, [], gap=annotate.GAP, limit=limit)


def _frame(panel: Axes, box: Box, colour: str, style: str) -> None:
    """A box in axes that run from 0 to 1, on a white line that keeps it visible on any photo."""
    x0, y0, x1, y1 = box
    width = 2.0 if style == "-" else 1.4
    dashes = {} if style == "-" else {"linestyle": (0, (4, 3))}
    panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=width + 1.6, alpha=0.7))
    panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width, **dashes))


def _draw_labels(panel: Axes, across: float, down: float, entries: Sequence[_Entry]) -> None:
    """Number and label at each box where there is room beside the labels before it; the number alone where there is not."""
    wide = annotate.measure(CAPTION)
    taken: list[Frame] = []
    for entry in entries:
        x0, y0, x1, y1 = (side * scale for side, scale in zip(entry.triple.box, (across, down, across, down), strict=True))
        texts = (f"{entry.number} {entry.label}", str(entry.number))
        found = ((text, place) for text in texts if (place := _free((x0, y0, x1, y1), wide(text) + 5, (across, down), taken)))
        text, place = next(found, (texts[1], (x0, y0, x0 + wide(texts[1]) + 5, y0 + TAG)))
        taken.append(place)
        left, top, right, bottom = place
        size = ((right - left) / across, (bottom - top) / down)
        fill = entry.colour if entry.style == "-" else "white"
        panel.add_patch(Rectangle((left / across, top / down), *size, facecolor=fill, edgecolor=entry.colour, linewidth=0.8, zorder=4))
        middle = (top + bottom) / 2 / down
        colour = "white" if entry.style == "-" else entry.colour
        panel.text((left + 2.5) / across, middle, text, fontsize=CAPTION, color=colour, va="center_baseline", parse_math=False, zorder=5)


def _free(box: Frame, width: float, panel: tuple[float, float], taken: Sequence[Frame]) -> Frame | None:
    """A place for a label of this width at an edge of the box, inside the panel and over no other label."""
    x0, y0, x1, y1 = box
    for top in (y0 - TAG, y1, y0, y1 - TAG):
        for left in (x0, x1 - width, (x0 + x1 - width) / 2):
            place = (left, top, left + width, top + TAG)
            inside = left >= 0 and top >= 0 and place[2] <= panel[0] and place[3] <= panel[1]
            if inside and all(place[2] <= o[0] or o[2] <= left or place[3] <= o[1] or o[3] <= top for o in taken):
                return place
    return None


def _draw_list(page: Axes, left: float, top: float, entries: Sequence[_Entry], annotated: bool) -> None:
    heading = "no triples" if not entries else "solid: predicted, dashed: gold" if annotated else "predicted"
    page.text(left, top + ROW / 2, heading, fontsize=CAPTION, color=FAINT, va="center", parse_math=False)
    wide = annotate.measure(LABEL)
    for row, entry in enumerate(entries, 1):
        y = top + ROW * (row + 0.5)
        page.text(left + 12, y, str(entry.number), fontsize=LABEL, color=entry.colour, ha="right", va="center_baseline")
        dashes = {} if entry.style == "-" else {"dashes": (3, 2)}
        page.plot([left + 17, left + 17 + SAMPLE - 8], [y, y], color=entry.colour, linewidth=1.8, **dashes)
        text = shorten(entry.text, WIDTH - EDGE - left - 17 - SAMPLE, wide)
        page.text(left + 17 + SAMPLE, y, text, fontsize=LABEL, color=INK, va="center_baseline", parse_math=False)


def _draw_entities(page: Axes, top: float, captions: dict[Span, str], layout: SentenceLayout, colours: dict[Span, str]) -> None:
    """Tinted boxes behind the words of each entity, long ones first so that one inside another is seen, and captions below."""
    bases = [
        top + annotate.sentence_height(dataclasses.replace(layout, lanes=layout.lanes[:line], rows=layout.rows[:line])) + annotate.BOX / 2
        for line in range(len(layout.lanes))
    ]
    for span in sorted(captions, key=lambda span: span[0] - span[1]):
        inner = any(other != span and other[0] <= span[0] and span[1] <= other[1] for other in captions)
        pad = 1.5 if inner else 3.5
        for piece in layout.mentions[span]:
            corner = (EDGE + piece.left - pad, bases[piece.line] - annotate.BOX / 2 - pad + 3)
            size = (piece.right - piece.left + 2 * pad, annotate.BOX + 2 * pad - 6)
            style = {"boxstyle": "round,pad=0,rounding_size=3", "edgecolor": colours[span], "linewidth": 1.2}
            page.add_patch(FancyBboxPatch(corner, *size, **style, facecolor=_tint(colours[span]), zorder=2))
        first = layout.mentions[span][0]
        y = bases[first.line] + annotate.BOX / 2 + 6.5 + annotate.ROW * layout.captions[span]
        page.text(EDGE + first.left, y, captions[span], fontsize=CAPTION, color=colours[span], va="center", parse_math=False, zorder=4)


def _tint(colour: str) -> tuple[float, ...]:
    return tuple(1 - 0.18 * (1 - part) for part in to_rgb(colour))


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
    names = [shorten(shown(token), 90, annotate.measure(CAPTION)) for token in tokens]
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
    heat.set_yticks(range(len(tokens)), names, fontsize=CAPTION, parse_math=False)
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
        panel.set_title(names[token], fontsize=LABEL, parse_math=False)
    return figure


def query_attention_figure(
    photo: np.ndarray,
    maps: np.ndarray,
    captions: Sequence[str],
    predicted: Sequence[Box | None],
    gold: Sequence[Box | None],
) -> Figure:
    """Where each query looks in the photo, with the box it predicts and the gold box it should (QEOT fig. 4).

    Args:
      photo: uint8 [H, W, 3], as the system saw it: the cells of the maps divide it evenly.
      maps: float [Q, h, w], each query's cross-attention over the cells. Every map has a colour scale of its own.
      captions: of each query, lines of which the first is the heading.
      predicted, gold: box of each query (solid, dashed), None where it says 'no triple' or no gold triple is its own.

    Raises:
      ValueError: if lengths or shapes do not fit.
    """
    lengths = {len(captions), len(predicted), len(gold)}
    if maps.ndim != 3 or lengths != {len(maps)}:
        raise ValueError(f"maps of shape {maps.shape} need as many captions and boxes as there are queries, found {sorted(lengths)}")
    count = len(maps) + 1
    across = min(min((4, 5, 3), key=lambda columns: -count % columns), count)  # the fewest empty places
    down = -(-count // across)
    texts = [[shorten(shown(line), 165, annotate.measure(CAPTION)) for line in caption.split("\n")] for caption in captions]
    tall = 2.4 * photo.shape[0] / photo.shape[1] + 0.2 + 0.14 * max(map(len, texts), default=1)
    figure = Figure(figsize=(2.5 * across, tall * down), dpi=144, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    first, *rest = figure.subplots(down, across, squeeze=False).flat
    _show(first, photo, None)
    for number, box in enumerate(gold):
        if box is not None:
            _frame(first, box, COLOURS[number % len(COLOURS)], "--")
    first.set_title("photo and gold boxes" if any(gold) else "photo", fontsize=LABEL, color=FAINT)
    for panel, number in _panels(rest, range(len(maps))):
        _show(panel, photo, maps[number], float(maps[number].max()))
        for box, style in ((gold[number], "--"), (predicted[number], "-")):
            if box is not None:
                _frame(panel, box, COLOURS[number % len(COLOURS)], style)
        panel.set_title("\n".join(texts[number]), fontsize=CAPTION, parse_math=False)
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
        tint[..., 3] = 0.8 * weights / max(largest, 1e-12)
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
