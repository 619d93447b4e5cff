"""The picture of a record's objects: boxes in one colour a class, numbered as in the list beside the photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mmre_jax.analysis import annotate
from mmre_jax.analysis.annotate import CAPTION, COLOURS, FAINT, LABEL, fitted, write
from mmre_jax.analysis.fonts import shown
from mmre_jax.analysis.triple_plots import (
    EDGE,
    NO_PHOTO,
    PHOTO,
    ROW,
    SAMPLE,
    TALLEST,
    WIDTH,
    Entry,
    draw_labels,
    draw_list,
    frame_box,
    list_width,
)
from mmre_jax.boxes import pairwise_iou
from mmre_jax.records import Record, Region, check_box


def objects_figure(
    record: Record,
    predicted: Sequence[Region],
    photo: np.ndarray | None,
    gold: Sequence[Region] | None = None,
    *,
    iou: float = 0.5,
    note: str | None = None,
) -> Figure:
    """A record's photo with its objects, one colour a class.

    Args:
      record: its id is shown.
      predicted: best first; framed with solid lines and listed with their scores.
      photo: uint8 [H, W, 3] of any size, or None where there was no picture or it was masked.
      gold: annotated objects, framed with dashed lines. Predictions are marked right or wrong, and gold objects that were not found are
        listed. None: nothing is known to be right.
      iou: overlap from which a box is right.
      note: a line below the photo.

    Raises:
      RecordError: if a box does not fit.
      ValueError: if the photo is not uint8 [H, W, 3].
    """
    for side, regions in (("predicted", predicted), ("gold", gold or ())):
        for number, region in enumerate(regions, 1):
            check_box(region.box, f"record {record.id}: {side} object {number}")
    classes = sorted({str(region.label) for region in (*predicted, *(gold or ()))})
    colours = {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(classes)}
    entries = _entries(predicted, gold, iou, colours)
    top = EDGE + 18
    frame = (EDGE, top, PHOTO, NO_PHOTO if photo is None else TALLEST)
    pictures = annotate.gallery(frame, photo, [])
    beside = pictures.right + 22
    listed = [fitted(entry.text, WIDTH - EDGE - beside - 17 - SAMPLE, LABEL) for entry in entries]
    heading = "no objects" if not entries else "solid: predicted, dashed: gold" if gold is not None else "predicted"
    right = max(beside + list_width(listed, heading), pictures.right) + EDGE
    below = max(pictures.bottom, top + ROW * (len(entries) + 1)) + (18 if note else 4)
    figure, page = annotate.new_page(right, below + EDGE)
    write(page, EDGE, EDGE + 4, fitted(record.id, right - 2 * EDGE, LABEL), LABEL, FAINT, down="center")
    annotate.draw_pictures(figure, frame, photo, [], [])
    if photo is not None:
        panel = figure.axes[-1]
        for region in gold or ():
            frame_box(panel, check_box(region.box, record.id), colours[str(region.label)], "--")
        for entry in entries:
            if entry.style == "-":
                frame_box(panel, entry.box, entry.colour, "-")
        draw_labels(panel, pictures.photo[2], pictures.photo[3], entries)
    draw_list(page, beside, top, entries, listed, heading)
    if note:
        write(page, EDGE, below - 2, fitted(shown(note), right - 2 * EDGE, CAPTION), CAPTION, FAINT, down="center")
    return figure


def matched(predicted: Sequence[Region], gold: Sequence[Region], iou: float) -> dict[int, int]:
    """{index of a prediction: index of the gold object that it finds}: each, best first, takes the free one of its class that it overlaps
    most, from `iou` on (COCO's rule)."""
    found: dict[int, int] = {}
    order = sorted(range(len(predicted)), key=lambda index: -(predicted[index].score or 0.0))
    overlap = pairwise_iou(*(np.array([region.box for region in side]).reshape(-1, 4) for side in (predicted, gold)))
    for index in order:
        free = [g for g, region in enumerate(gold) if g not in found.values() and region.label == predicted[index].label]
        best = max(free, key=lambda g: overlap[index, g], default=None)
        if best is not None and overlap[index, best] >= iou:
            found[index] = best
    return found


def _entries(predicted: Sequence[Region], gold: Sequence[Region] | None, iou: float, colours: dict[str, str]) -> list[Entry]:
    """The predictions with their marks, then the gold objects that none of them found."""
    found = matched(predicted, gold or (), iou)
    entries = []
    for index, region in enumerate(predicted):
        score = "" if region.score is None else f"  {region.score:.2f}"
        mark = "" if gold is None else "  \N{CHECK MARK}" if index in found else "  \N{BALLOT X}"
        name = shown(str(region.label))
        box = check_box(region.box, "predicted")
        entries.append(Entry(len(entries) + 1, box, name + score + mark, name, colours[str(region.label)], "-"))
    for index, region in enumerate(gold or ()):
        if index not in found.values():
            name, box = shown(str(region.label)), check_box(region.box, "gold")
            entries.append(Entry(len(entries) + 1, box, f"{name}  missed", name, colours[str(region.label)], "--"))
    return entries
