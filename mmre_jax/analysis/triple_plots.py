"""The picture of a record's triples: boxes and entities in one colour, numbered as in the list beside the photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmre_jax.analysis import annotate
from mmre_jax.analysis.annotate import CAPTION, COLOURS, FAINT, INK, LABEL, Look, shown
from mmre_jax.analysis.layout import SentenceLayout, Span, lay_out, shorten
from mmre_jax.records import Box, Record, Triple, check_box, check_span
from mmre_jax.tasks.triple_metrics import strict_matches

Frame = tuple[float, float, float, float]  # left, top, right, bottom in points, of a panel

WIDTH, EDGE = 720.0, 18.0  # of the page, in points
PHOTO, TALLEST = 360.0, 300.0  # largest width and height of the photo
ROW, SAMPLE, TAG = 15.0, 30.0, 11.0  # of the list: its rows, the line before a text; height of a label in the photo


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
            frame_box(panel, triple.box, colours[triple.mention.span], "--")
        for entry in entries:
            if entry.style == "-":
                frame_box(panel, entry.triple.box, entry.colour, "-")
        _draw_labels(panel, across, panel.get_position().height * height, entries)
    _draw_list(page, EDGE + across + 22, top, entries, gold is not None)
    looks = {span: Look(captions[span], annotate.tint(colour), colour, colour) for span, colour in colours.items()}
    annotate.draw_sentence(page, EDGE, below, words, looks, layout, [])
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


def frame_box(panel: Axes, box: Box, colour: str, style: str) -> None:
    """Draws a box in axes that run from 0 to 1, on a white line that keeps it visible on any photo; style is '-' or '--'."""
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
