"""Pictures of what was measured and extracted: confusion, training curves, and a record with its relations or entities drawn in.

Each function returns a matplotlib Figure of its own; none touches pyplot or any other global state.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmre_jax import storage
from mmre_jax.analysis import annotate
from mmre_jax.analysis.annotate import COLOURS, FAINT, INK, ROLES, Look, tint
from mmre_jax.analysis.fonts import families, shown
from mmre_jax.analysis.layout import Span
from mmre_jax.records import Box, Mention, Record, Relation, check_box, check_span

Arrow = tuple[Relation, str, str, str]  # relation, label as drawn, colour, line style

WIDTH, EDGE = 720.0, 18.0  # of an extraction's figure, in points: at most, but for very many arrows between lines
LEAST = 200.0  # width of what stands on it
PHOTO, NO_PHOTO = 250.0, 80.0  # most height of the pictures
TEXT = WIDTH - 2 * EDGE - 60.0  # width of its sentence; arrows between lines run in the rest


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes `figure` in the format its suffix names (.png, .pdf, .svg, ...), whole or not at all.

    Raises:
      ValueError: if matplotlib does not write that format.
      OSError: if the folder is missing or not writable.
    """
    target = storage.path(path)
    formats = figure.canvas.get_supported_filetypes()
    kind = target.suffix[1:].lower()
    if kind not in formats:
        raise ValueError(f"{target}: a figure is saved as one of {', '.join(sorted(formats))}, not {kind or 'a file without suffix'!r}")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind)
    storage.write_bytes(target, drawn.getvalue())


def confusion(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """How often each gold relation (row) was predicted as each relation (column).

    Args:
      counts: [R, R] non-negative integers. Colours show each row's shares; the counts stand in the cells up to 40 relations.
      labels: R names; a path such as /per/org/member_of is shown by the shortest ending that no other label has.

    Raises:
      ValueError: if `counts` is not [R, R].
    """
    size = len(labels)
    if counts.shape != (size, size):
        raise ValueError(f"{size} labels need counts of shape ({size}, {size}), found {counts.shape}")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(3.4 + 0.36 * size, 2.6 + 0.34 * size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [shown(name) for name in short_names(labels)]
    look = {"fontsize": 8, "parse_math": False, "family": families("".join(names))}
    axes.set_xticks(range(size), names, rotation=90, **look)
    axes.set_yticks(range(size), names, **look)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e6e6e6", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    if size <= 40:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the gold relation's records")
    return figure


def short_names(labels: Sequence[str], longest: int = 28) -> list[str]:
    """Each label's shortest ending, cut at '/', that is no other label's; beyond `longest` characters the middle is left out."""
    names = []
    for label in labels:
        parts = label.strip("/").split("/")
        endings = ["/".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        others = ["/" + other.strip("/") for other in labels if other != label]
        name = next((ending for ending in endings if not any(other.endswith("/" + ending) for other in others)), label)
        names.append(name if len(name) <= longest else f"{name[: longest // 2]}\N{HORIZONTAL ELLIPSIS}{name[-(longest // 2 - 1) :]}")
    return names


def curves(rows: Sequence[Mapping[str, Any]], score: str, loss: str = "train.loss") -> Figure:
    """Training loss and the score on dev over steps.

    Args:
      rows: of metrics.jsonl, each with "step"; rows without either are passed over, and a run that has not been evaluated yet shows its
        loss alone.
      score, loss: dotted names into rows.

    Raises:
      ValueError: if no row has `loss`.
    """
    losses = [(row["step"], value) for row in rows if (value := _at(row, loss)) is not None]
    scores = [(row["step"], value) for row in rows if (value := _at(row, score)) is not None]
    if not losses:
        found = sorted({key for row in rows for key in row})
        raise ValueError(f"none of {len(rows)} rows has {loss!r}; found {', '.join(found) or 'nothing'}")
    panels = [(losses, loss, COLOURS[0], "")] + ([(scores, score, COLOURS[1], "o")] if scores else [])
    figure = Figure(figsize=(7, 2.6 * len(panels)), layout="constrained")
    for axes, (points, name, colour, marker) in zip(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True):
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color=colour, marker=marker, markersize=4, linewidth=1.4)
        axes.set_ylabel(name, parse_math=False)
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    if scores:
        step, best = max(scores, key=lambda point: point[1])
        axes.annotate(f"{best:.3f}", (step, best), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9, color=COLOURS[1])
        axes.margins(y=0.2)
    axes.set_xlabel("step")
    return figure


def _at(row: Mapping[str, Any], path: str) -> Any | None:
    value: Any = row
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def extraction(
    record: Record,
    relations: Sequence[Relation],
    picture: np.ndarray | None,
    crops: Sequence[tuple[np.ndarray, str]],
    *,
    boxes: Sequence[Box] = (),
    gold: Sequence[Relation] | None = None,
    note: str | None = None,
    none: str = "None",
    show_none: bool = True,
) -> Figure:
    """A record as a picture: the photo with what the model saw, and the sentence with its entities and relations as arrows.

    Args:
      record: its words and mentions are shown.
      relations: predicted ones, each drawn from head to tail with label and score.
      picture: uint8 [H, W, 3] of any size, or None where there was no picture or it was masked.
      crops: (uint8 [h, w, 3], caption) of each object the model saw. Crop i is framed in the colour of box i.
      boxes: normalised (x_min, y_min, x_max, y_max), drawn into the photo and numbered from 1.
      gold: annotated relations. A prediction for a pair among them is marked right or wrong; pairs not predicted are drawn dashed.
      note: a remark below the sentence.
      none: label of the empty relation: drawn grey, or, with `show_none` false, left out unless `gold` says that it is wrong.

    Raises:
      RecordError: if a span or box does not fit.
      ValueError: if a picture is not uint8 [H, W, 3].
    """
    arrows = _arrows(relations, gold, none, show_none)
    looks = _roles(record, [relation for relation, _, _, _ in arrows])
    return _page(record, looks, arrows, picture, crops, boxes, note)


def entities(
    record: Record,
    mentions: Sequence[Mention],
    picture: np.ndarray | None,
    crops: Sequence[tuple[np.ndarray, str]],
    *,
    boxes: Sequence[Box] = (),
    gold: Sequence[Mention] | None = None,
    note: str | None = None,
    types: Sequence[str] = (),
) -> Figure:
    """A record as a picture: the photo with what the model saw, and the sentence with its mentions in the colours of their types.

    Args:
      record: its words are shown.
      mentions: predicted ones, with type and score below them.
      picture, crops, boxes, note: as of `extraction`.
      gold: annotated mentions. Predictions are marked right or wrong, and gold ones whose span was not predicted are framed with dashes.
      types: those that have the same colour in every figure that is given the same; others get the colours behind them.

    Raises:
      RecordError: if a span or box does not fit.
      ValueError: if a picture is not uint8 [H, W, 3].
    """
    return _page(record, _types(record, mentions, gold, types), [], picture, crops, boxes, note)


def _page(
    record: Record,
    looks: Mapping[Span, Look],
    arrows: Sequence[Arrow],
    picture: np.ndarray | None,
    crops: Sequence[tuple[np.ndarray, str]],
    boxes: Sequence[Box],
    note: str | None,
) -> Figure:
    checked = [check_box(box, f"record {record.id}: box {number}") for number, box in enumerate(boxes, 1)]
    captions = {span: look.caption for span, look in looks.items()}
    ends = [(relation.head.span, relation.tail.span, label) for relation, label, _, _ in arrows]
    words, layout = annotate.sentence(record.words, captions, ends, TEXT)
    frame = (EDGE, EDGE + 18, WIDTH - 2 * EDGE, PHOTO if picture is not None or crops else NO_PHOTO)
    pictures = annotate.gallery(frame, picture, crops)
    across = max(LEAST, pictures.right - EDGE, layout.right)
    title, remark = annotate.fitted(record.id, across, annotate.LABEL), annotate.paragraph(note or "", min(across, TEXT))
    top = pictures.bottom + 16
    bottom = top + annotate.sentence_height(layout)
    figure, page = annotate.new_page(across + 2 * EDGE, bottom + 14 * len(remark) + EDGE)
    annotate.write(page, EDGE, EDGE + 4, title, annotate.LABEL, FAINT, down="center")
    annotate.draw_pictures(figure, frame, picture, crops, checked)
    annotate.draw_sentence(page, EDGE, top, words, looks, layout, [(label, colour, style) for _, label, colour, style in arrows])
    for number, line in enumerate(remark):
        annotate.write(page, EDGE, bottom + 14 * number, line, annotate.LABEL, FAINT, down="top")
    return figure


def _arrows(relations: Sequence[Relation], gold: Sequence[Relation] | None, none: str, show_none: bool) -> list[Arrow]:
    """What is drawn: the predictions with their marks, then the gold relations of pairs nothing was predicted for."""
    annotated: dict[tuple[Span, Span], list[str]] = {}
    for relation in gold or ():
        annotated.setdefault((relation.head.span, relation.tail.span), []).append(relation.label or "?")
    arrows = []
    for relation in relations:
        label = relation.label or "?"
        right = annotated.get((relation.head.span, relation.tail.span))
        if label == none and not show_none and (right is None or label in right):
            continue
        score = "" if relation.score is None else f" {relation.score:.2f}"
        mark = "" if right is None else " \N{CHECK MARK}" if label in right else f" \N{BALLOT X} gold {', '.join(right)}"
        colour = FAINT if label == none or relation.label is None else COLOURS[len(arrows) % len(COLOURS)]
        arrows.append((relation, annotate.fitted(label + score + mark, TEXT, annotate.LABEL), colour, "-"))
    predicted = {(relation.head.span, relation.tail.span) for relation in relations}
    for relation in gold or ():
        if (relation.head.span, relation.tail.span) not in predicted and (show_none or relation.label != none):
            arrows.append((relation, annotate.fitted(f"gold {relation.label or '?'}", TEXT, annotate.LABEL), FAINT, "--"))
    return arrows


def _roles(record: Record, relations: Sequence[Relation]) -> dict[Span, Look]:
    """How every mention in the record or in a relation looks: filled by role, its caption role and type, as far as there are any."""
    roles: dict[Span, set[str]] = {}
    types: dict[Span, str] = {}
    ends: list[tuple[str, Mention]] = [("", mention) for mention in record.mentions]
    ends += [end for relation in relations for end in (("head", relation.head), ("tail", relation.tail))]
    for role, mention in ends:
        span = check_span(mention.start, mention.end, len(record.words), f"record {record.id}: {role or 'mention'}")
        roles.setdefault(span, set()).update({role} - {""})
        if mention.type:
            types[span] = mention.type
    names = {span: ", ".join(sorted(found)) for span, found in roles.items()}
    return {
        span: Look(_caption(" \N{MIDDLE DOT} ".join(part for part in (role, types.get(span, "")) if part)), ROLES[role])
        for span, role in names.items()
    }


def _types(record: Record, mentions: Sequence[Mention], gold: Sequence[Mention] | None, types: Sequence[str]) -> dict[Span, Look]:
    """How predicted mentions look, with their marks, and gold ones of spans nothing was predicted for."""
    annotated: dict[Span, list[str]] = {}
    for mention in gold or ():
        annotated.setdefault(mention.span, []).append(mention.type or "?")
    names = dict.fromkeys((*types, *sorted(mention.type or "?" for mention in (*mentions, *(gold or ())))))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    looks: dict[Span, Look] = {}
    for mention in mentions:
        span = check_span(mention.start, mention.end, len(record.words), f"record {record.id}: predicted mention")
        name, right = mention.type or "?", annotated.get(span)
        score = "" if mention.score is None else f" {mention.score:.2f}"
        wrong = " \N{BALLOT X}" + (f" gold {', '.join(right)}" if right else "")
        mark = "" if gold is None else " \N{CHECK MARK}" if right and name in right else wrong
        looks[span] = Look(_caption(name + score + mark), tint(colours[name]), colours[name], colours[name])
    for span in annotated.keys() - looks.keys():
        check_span(*span, len(record.words), f"record {record.id}: gold mention")
        name = annotated[span][0]
        looks[span] = Look(_caption(f"missed {', '.join(annotated[span])}"), "none", colours[name], colours[name], "--")
    return looks


def _caption(text: str) -> str:
    return annotate.fitted(text, TEXT, annotate.CAPTION)
