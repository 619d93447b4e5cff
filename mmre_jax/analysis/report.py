"""What an evaluation says beyond its totals: each class by itself, and slices of the data that systems are known to differ on.

Everything here is a pure function of records and what was found in them; the scores themselves are computed by the task's `metrics`,
handed in. `kind` is the task's name: 'relation' (records with one relation each), 'entities', 'triples' or 'objects'.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmre_jax.analysis import extracted
from mmre_jax.data.dataset import objects_of
from mmre_jax.data.encoded import Encoded
from mmre_jax.records import Mention, Record
from mmre_jax.tasks import relation
from mmre_jax.tasks.task import Found, Outputs, at
from mmre_jax.training.trained_on import TrainedOn, entity_pair, key

Row = dict[str, str | int | float | None]
Metrics = Callable[..., Mapping[str, Any]]  # of records, of what was found in each, and of each one's outputs and tokens where known
# What of an example and of what was found in it belongs to a slice; None where nothing does.
Slice = Callable[[Record, Found], tuple[Record, Found] | None]

LENGTHS = ((1, 10), (11, 20), (21, 30), (31, None))
COUNTS = ((0, 0), (1, 1), (2, 2), (3, 5), (6, None))


def _text(record: Record, mention: Mention) -> str:
    return "" if extracted.is_off(mention) else record.text(mention.span).lower()


def confusion_counts(records: Sequence[Record], predicted: Sequence[Found], labels: Sequence[str]) -> np.ndarray:
    """How often gold relation i was predicted as relation j: int64 [R, R], rows gold. All are among the `labels`."""
    gold = np.array([labels.index(str(record.relations[0].label)) for record in records], np.int64)
    guesses = np.array([labels.index(found[0].label) for found in predicted], np.int64)
    return relation.confusion_counts(gold, guesses, len(labels))


def per_class(kind: str, scores: Mapping[str, Any]) -> list[Row]:
    """One row a relation (of triples: by the strict measure) or type of entity: its name, precision, recall, f1, support (how often it is
    gold), in falling order of support; of objects, AP and AP50 of each class.

    Args:
      scores: the task's metrics.
    """
    if kind == "objects":
        found = [{"object": label, **row} for label, row in scores["per_label"].items()]
        return sorted(found, key=lambda row: -row["support"])
    column, classes = ("type", scores["entity"]["per_type"]) if kind == "entities" else ("relation", scores["per_relation"])
    rows = [{column: name, **{key: row[key] for key in ("precision", "recall", "f1", "support")}} for name, row in classes.items()]
    return sorted(rows, key=lambda row: -row["support"])


def slices(
    kind: str,
    records: Sequence[Record],
    predicted: Sequence[Found],
    metrics: Metrics,
    headline: Sequence[str],
    *,
    has_picture: Callable[[Record], bool],
    known: TrainedOn | None,
    outputs: Sequence[Outputs] | None = None,
    encoded: Sequence[Encoded] | None = None,
) -> list[Row]:
    """Scores of the whole and of its slices.

    All tasks: with and without a picture, and by words in the sentence. relation: by whether training had the entity pair. entities: the
    mentions, annotated or found, whose text was that of a mention in training, and the others. triples, objects: by how many are annotated.

    Args:
      metrics, headline: the task's.
      has_picture: whether the system saw a picture of this record (a path alone does not say that the file can be read).
      known: of the training split; None where nothing is, and there are no slices by it.
      outputs: what a system of ours predicted of each record, for the metrics; None if another program predicted.
      encoded: each record's tokens, for the metrics; None where they are to find them.

    Returns:
      Rows slice, count (examples), and the headline's numbers under their dotted names. An empty slice has count 0 and None for its
      scores. Each kind of slice divides the whole: the counts add up to that of the first row; only an example may have mentions of both
      sorts, or none.
    """
    rows: list[Row] = []
    for name, part in _parts(kind, has_picture, known):
        parts = [part(*both) for both in zip(records, predicted, strict=True)]
        chosen = [both for both in parts if both is not None]
        own = {
            name: [each for each, both in zip(values, parts, strict=True) if both is not None]
            for name, values in (("outputs", outputs), ("encoded", encoded))
            if values is not None
        }
        scores = metrics([record for record, _ in chosen], [found for _, found in chosen], **own) if chosen else None
        values = {key: None if scores is None else at(scores, key) for key in headline}
        rows.append({"slice": name, "count": len(chosen), **values})
    return rows


def _parts(kind: str, has_picture: Callable[[Record], bool], known: TrainedOn | None) -> list[tuple[str, Slice]]:
    parts = [
        ("all", _where(lambda record: True)),
        ("with picture", _where(has_picture)),
        ("without picture", _where(lambda record: not has_picture(record))),
    ]
    if kind in ("relation", "entities") and known is None:
        pass
    elif kind == "relation":
        parts += [
            ("entity pair seen in training", _where(lambda record: key(*entity_pair(record)) in known.seen)),
            ("entity pair not seen", _where(lambda record: key(*entity_pair(record)) not in known.seen)),
        ]
    elif kind == "entities":
        parts += [
            ("mention text seen in training", _mentions(lambda text: key(text) in known.seen)),
            ("mention text not seen", _mentions(lambda text: key(text) not in known.seen)),
        ]
    else:
        unit, annotated = ("object", objects_of) if kind == "objects" else ("triple", lambda record: record.triples)
        parts += [
            (_range_name(*bounds, unit), _where(lambda record, bounds=bounds: _within(len(annotated(record)), *bounds)))
            for bounds in COUNTS
        ]
    if kind == "objects":
        return parts
    lengths = [
        (_range_name(*bounds, "word"), _where(lambda record, bounds=bounds: _within(len(record.words), *bounds))) for bounds in LENGTHS
    ]
    return parts + lengths


def _where(test: Callable[[Record], bool]) -> Slice:
    """Whole examples."""
    return lambda record, found: (record, found) if test(record) else None


def _mentions(wanted: Callable[[str], bool]) -> Slice:
    """Of every example the mentions with a wanted text, on both sides: a wrong one counts where its own text belongs."""

    def part(record: Record, found: Found) -> tuple[Record, Found] | None:
        gold, guesses = (tuple(m for m in mentions if wanted(_text(record, m))) for mentions in (record.mentions, found))
        return (dataclasses.replace(record, mentions=gold), guesses) if gold or guesses else None

    return part


def _range_name(low: int, high: int | None, unit: str) -> str:
    if high is None:
        return f"more than {low - 1} {unit}s"
    if low == high:
        return f"{low or 'no'} {unit}{'s' * (low != 1)}"
    return f"{low} to {high} {unit}s" if low > 1 else f"up to {high} {unit}s"


def _within(count: int, low: int, high: int | None) -> bool:
    return count >= low and (high is None or count <= high)


def table(rows: Sequence[Mapping[str, str | int | float | None]], columns: Sequence[str]) -> str:
    """`rows` as aligned plain text: a head line, a rule, a line per row; no trailing blanks, no final newline.

    Columns holding only numbers are aligned right, others left; floats have three decimals, None is shown as '-'.

    Raises:
      ValueError: naming the first row that lacks a column.
    """
    for number, row in enumerate(rows):
        if lacking := [column for column in columns if column not in row]:
            raise ValueError(f"row {number} lacks {', '.join(lacking)}; it has {', '.join(row)}")
    cells = [[cell(row[column]) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[at]) for line in cells)]) for at, column in enumerate(columns)]
    right = [bool(rows) and all(not isinstance(row[column], str) for row in rows) for column in columns]
    lines = [list(columns), ["-" * width for width in widths], *cells]
    padded = [
        [cell.rjust(width) if at_right else cell.ljust(width) for cell, width, at_right in zip(line, widths, right, strict=True)]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def cell(value: str | int | float | None) -> str:
    """A value as a table shows it: three decimals of a float, '-' for None."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, (float, np.floating)) else str(value)
