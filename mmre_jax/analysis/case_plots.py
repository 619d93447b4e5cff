"""The page of one record of a case study: the sentence with its annotation, and what each run says of it over what it looks at."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mmre_jax.analysis import annotate, photo_maps
from mmre_jax.analysis.annotate import CAPTION, COLOURS, FAINT, INK, LABEL, LINE, ROLES, Look, fitted, write
from mmre_jax.analysis.layout import Span
from mmre_jax.analysis.places import Places
from mmre_jax.records import Record

WIDTH, EDGE, BETWEEN = 720.0, 18.0, 14.0  # of the page, its margin and the space between panels, in points
ACROSS, HIGHEST = 4, 150.0  # most panels in a line; largest height of a photo
HEAD, ROW = 26.0, 11.0  # of a panel's heading, and of each line below
MOST = 5  # lines below a panel
Frame = tuple[float, float, float, float, float]  # left, top, width and height of a panel, in points, and the height of the page
RIGHT, WRONG = COLOURS[2], COLOURS[4]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one run says of a record: each thing in words, its score and whether it is right; and what it was shown.

    pictures: {slot: uint8 [K, S, S, 3]}.  present: {slot: bool [K]}.  places: what the P places are; empty for a system of text alone.
    weights: float [P], what its words attend to; None for a system in which they do not, or without a picture.
    """

    run: str
    system: str
    said: tuple[tuple[str, float | None, bool], ...]
    pictures: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray]
    places: Places
    weights: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Case:
    """A record, its annotation in words, and what each run says of it.

    photo: uint8 [H, W, 3]; None where it has none that can be read.
    """

    record: Record
    photo: np.ndarray | None
    gold: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


def page(case: Case) -> Figure:
    """The sentence above, with its relation, entities or the entities of its triples; below it the photo and a panel for each run."""
    record, count = case.record, len(case.verdicts) + 1
    across = -(-count // -(-count // ACROSS))  # of as few lines as there are, each as full as the others
    limit = WIDTH - 2 * EDGE
    looks, arrows = _annotated(record)
    words, layout = annotate.sentence(record.words, {s: look.caption for s, look in looks.items()}, arrows, limit - 60)
    wide = min((limit - BETWEEN * (across - 1)) / across, 2 * HIGHEST)
    high = max(min(wide / photo_maps.frames_of(v.places)[1], HIGHEST) if v.places.parts else 40.0 for v in case.verdicts) + 12
    lines = max(min(len(verdict.said), MOST) or 1 for verdict in case.verdicts)
    panel = HEAD + high + ROW * lines + 12
    gold = [] if record.relations else annotate.paragraph(f"gold: {'; '.join(case.gold) or 'nothing'}", limit)
    top = EDGE + annotate.sentence_height(layout) + 13 * len(gold) + 8
    height = top + panel * -(-count // across) + EDGE / 2
    figure, canvas = annotate.new_page(WIDTH, height)
    write(canvas, EDGE, EDGE - 4, fitted(record.id, limit, CAPTION), CAPTION, FAINT)
    annotate.draw_sentence(canvas, EDGE, EDGE + 2, words, looks, layout, [(label, FAINT, "-") for *_, label in arrows])
    for number, line in enumerate(gold):
        write(canvas, EDGE, top - 13 * (len(gold) - number) + 8, line, LABEL, INK)
    frames = [(EDGE + (n % across) * (wide + BETWEEN), top + panel * (n // across), wide, high, height) for n in range(count)]
    _draw_photo(figure, canvas, case.photo, frames[0])
    for verdict, frame in zip(case.verdicts, frames[1:], strict=True):
        _draw(figure, canvas, verdict, frame)
    return figure


def _draw_photo(figure: Figure, canvas: annotate.Axes, photo: np.ndarray | None, frame: Frame) -> None:
    left, upper, wide, high, height = frame
    write(canvas, left, upper + 8, "the photo", LABEL, INK)
    if photo is None:
        write(canvas, left, upper + HEAD + 20, "no picture", LABEL, LINE)
        return
    scale = min(wide / photo.shape[1], (high - 12) / photo.shape[0])
    across, down = photo.shape[1] * scale, photo.shape[0] * scale
    axes = figure.add_axes((left / WIDTH, 1 - (upper + HEAD + down) / height, across / WIDTH, down / height))
    axes.imshow(photo, aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=LINE, linewidth=0.6)


def _draw(figure: Figure, canvas: annotate.Axes, verdict: Verdict, frame: Frame) -> None:
    left, upper, wide, high, height = frame
    write(canvas, left, upper + 8, fitted(verdict.run, wide, LABEL), LABEL, INK)
    looks_at = "attention of its words" if verdict.weights is not None else "what it saw" if verdict.places.parts else "reads no picture"
    write(canvas, left, upper + 19, fitted(f"{verdict.system}: {looks_at}", wide, CAPTION), CAPTION, FAINT)
    if verdict.places.parts:
        frames, width = photo_maps.frames_of(verdict.places)
        side = min(wide / width, high - 12)
        tall = side * 1.1  # the photo, and below it the largest weight
        axes = figure.add_axes((left / WIDTH, 1 - (upper + HEAD + tall) / height, side * width / WIDTH, tall / height))
        axes.set(xlim=(-0.01, width), ylim=(1.1, 0), aspect="auto")
        axes.set_axis_off()
        photo_maps.draw(axes, verdict.weights, frames, verdict.pictures, verdict.present, verdict.places)
    else:
        write(canvas, left, upper + HEAD + 20, "no picture", LABEL, LINE)
    below = upper + HEAD + high + 8
    for number, (text, score, right) in enumerate(verdict.said[:MOST]):
        mark = "\N{CHECK MARK}" if right else "\N{BALLOT X}"
        words = fitted(text, wide - 44, LABEL)
        write(
            canvas,
            left,
            below + ROW * number,
            f"{mark} {words}{'' if score is None else f' {score:.2f}'}",
            LABEL,
            RIGHT if right else WRONG,
        )
    if rest := len(verdict.said) - MOST:
        if rest > 0:
            write(canvas, left + wide, upper + 8, f"and {rest} more", CAPTION, FAINT, across="right")
    if not verdict.said:
        write(canvas, left, below, "nothing found", LABEL, FAINT)


def _annotated(record: Record) -> tuple[dict[Span, Look], list[tuple[Span, Span, str]]]:
    """How the annotated mentions look, and the arrow of the relation."""
    if record.relations:
        relation = record.relations[0]
        looks = {relation.head.span: Look("head", ROLES["head"]), relation.tail.span: Look("tail", ROLES["tail"])}
        if len(looks) == 1:
            looks = {relation.head.span: Look("head, tail", ROLES["head, tail"])}
        return looks, [(relation.head.span, relation.tail.span, fitted(f"gold {relation.label}", WIDTH / 2, LABEL))]
    mentions = [triple.mention for triple in record.triples] or list(record.mentions)
    return {mention.span: Look(fitted(mention.type or "", WIDTH / 2, CAPTION)) for mention in mentions}, []
