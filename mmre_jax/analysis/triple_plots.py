"""The picture of a record's triples: boxes and entities in one colour, numbered as in the list beside the photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmre_jax.analysis import annotate
from mmre_jax.analysis.annotate import CAPTION, COLOURS, FAINT, INK, LABEL, Look, fitted, write
from mmre_jax.analysis.fonts import shown
from mmre_jax.analysis.layout import Span
from mmre_jax.records import Box, Record, Triple, check_box, check_span
from mmre_jax.tasks.triple_metrics import strict_matches

Place = tuple[float, float, float, float]  # left, top, right, bottom in points, in a panel

WIDTH, EDGE = 720.0, 18.0  # of the page, in points: at most
PHOTO, TALLEST, NO_PHOTO = 360.0, 300.0, 150.0  # largest width and height of the photo; height without one
ROW, SAMPLE, TAG = 15.0, 30.0, 11.0  # of the list: its rows, the line before a text; height of a label in the photo


@dataclasses.dataclass(frozen=True)
class Entry:
    """A box as it is drawn: its place in the list, its text there and in the photo, its colour, and a line for predicted or gold. A triple
    without a box stands in the list alone."""

    number: int
    box: Box | None
    text: str
    label: str
    colour: str
    style: str
    span: Span | None = None  # of the entity


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
            if triple.box is not None:
                check_box(triple.box, where)
    colours = entity_colours([*predicted, *(gold or ())])
    entries = _entries(record, predicted, gold, iou, colours)
    numbers = {span: [str(entry.number) for entry in entries if entry.span == span] for span in colours}
    captions = {span: fitted(", ".join(each), WIDTH - 2 * EDGE, CAPTION) for span, each in numbers.items()}
    words, layout = annotate.sentence(record.words, captions, [], WIDTH - 2 * EDGE)
    top = EDGE + 18
    frame = (EDGE, top, PHOTO, NO_PHOTO if photo is None else TALLEST)
    pictures = annotate.gallery(frame, photo, [])
    beside = pictures.right + 22
    listed = [fitted(entry.text, WIDTH - EDGE - beside - 17 - SAMPLE, LABEL) for entry in entries]
    heading = _heading(len(entries), gold is not None)
    right = max(layout.right + EDGE, beside + list_width(listed, heading))
    below = max(pictures.bottom, top + ROW * (len(entries) + 1)) + 16
    figure, page = annotate.new_page(right + EDGE, below + annotate.sentence_height(layout) + EDGE)
    write(page, EDGE, EDGE + 4, fitted(record.id, right - EDGE, LABEL), LABEL, FAINT, down="center")
    annotate.draw_pictures(figure, frame, photo, [], [])
    if photo is not None:
        panel = figure.axes[-1]
        for triple in gold or ():
            if triple.box is not None:
                frame_box(panel, triple.box, colours[triple.mention.span], "--")
        for entry in entries:
            if entry.style == "-" and entry.box is not None:
                frame_box(panel, entry.box, entry.colour, "-")
        draw_labels(panel, pictures.photo[2], pictures.photo[3], entries)
    draw_list(page, beside, top, entries, listed, heading)
    looks = {span: Look(captions[span], annotate.tint(colour), colour, colour) for span, colour in colours.items()}
    annotate.draw_sentence(page, EDGE, below, words, looks, layout, [])
    return figure


def entity_colours(triples: Sequence[Triple]) -> dict[Span, str]:
    """The colour of each entity of a record, in all its pictures that are given the same triples."""
    spans = sorted({triple.mention.span for triple in triples})
    return {span: COLOURS[number % len(COLOURS)] for number, span in enumerate(spans)}


def _entries(
    record: Record, predicted: Sequence[Triple], gold: Sequence[Triple] | None, iou: float, colours: dict[Span, str]
) -> list[Entry]:
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
            text, style = name + score + mark, "-"
        else:
            text, style = f"{name}  missed", "--"
        entries.append(Entry(index + 1, triple.box, text, name, colours[triple.mention.span], style, triple.mention.span))
    return entries


def frame_box(panel: Axes, box: Box, colour: str, style: str) -> None:
    """Draws a box in axes that run from 0 to 1, on a white line that keeps it visible on any photo; style is '-' or '--'."""
    x0, y0, x1, y1 = box
    width = 2.0 if style == "-" else 1.4
    dashes = {} if style == "-" else {"linestyle": (0, (4, 3))}
    panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=width + 1.6, alpha=0.7))
    panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width, **dashes))


def draw_labels(panel: Axes, across: float, down: float, entries: Sequence[Entry]) -> None:
    """Number and label at each box where there is room beside the labels before it; the number alone where there is not."""
    wide = annotate.measure(CAPTION)
    taken: list[Place] = []
    for entry in entries:
        if entry.box is None:
            continue
        x0, y0, x1, y1 = (side * scale for side, scale in zip(entry.box, (across, down, across, down), strict=True))
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
        write(panel, (left + 2.5) / across, middle, text, CAPTION, colour, down="center_baseline", above=5)


def _free(box: Place, width: float, panel: tuple[float, float], taken: Sequence[Place]) -> Place | None:
    """A place for a label of this width at an edge of the box, inside the panel and over no other label."""
    x0, y0, x1, y1 = box
    for top in (y0 - TAG, y1, y0, y1 - TAG):
        for left in (x0, x1 - width, (x0 + x1 - width) / 2):
            place = (left, top, left + width, top + TAG)
            inside = left >= 0 and top >= 0 and place[2] <= panel[0] and place[3] <= panel[1]
            if inside and all(place[2] <= o[0] or o[2] <= left or place[3] <= o[1] or o[3] <= top for o in taken):
                return place
    return None


def _heading(entries: int, annotated: bool) -> str:
    return "no triples" if not entries else "solid: predicted, dashed: gold" if annotated else "predicted"


def list_width(listed: Sequence[str], heading: str) -> float:
    """Points that `draw_list` needs from left to right."""
    wide = max(map(annotate.measure(LABEL), listed), default=0.0)
    return max(17 + SAMPLE + wide, annotate.measure(CAPTION)(heading))


def draw_list(page: Axes, left: float, top: float, entries: Sequence[Entry], listed: Sequence[str], heading: str) -> None:
    """A heading, and below it a row for each entry: number, a sample of its line, text."""
    write(page, left, top + ROW / 2, heading, CAPTION, FAINT, down="center")
    for row, (entry, text) in enumerate(zip(entries, listed, strict=True), 1):
        y = top + ROW * (row + 0.5)
        write(page, left + 12, y, str(entry.number), LABEL, entry.colour, across="right", down="center_baseline")
        dashes = {} if entry.style == "-" else {"dashes": (3, 2)}
        page.plot([left + 17, left + 17 + SAMPLE - 8], [y, y], color=entry.colour, linewidth=1.8, **dashes)
        write(page, left + 17 + SAMPLE, y, text, LABEL, INK, down="center_baseline")
