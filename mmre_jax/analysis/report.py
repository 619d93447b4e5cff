"""What an evaluation says beyond its totals: each relation by itself, and slices of the data that systems are known to differ on.

Everything here is a pure function of outcomes; the scores themselves are computed by the task's `metrics`, handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmre_jax.records import Record
from mmre_jax.tasks import relation

# (gold ids [N], predicted ids [N], labels, id of the empty relation) -> {"count", "accuracy", "micro": {"precision", "recall", "f1"},
# "per_relation": {label: {"precision", "recall", "f1", "support"}}}; see mmre_jax.tasks.relation.
Metrics = Callable[[np.ndarray, np.ndarray, Sequence[str], int], Mapping[str, Any]]
Row = dict[str, str | int | float | None]

LENGTHS = ((1, 10), (11, 20), (21, 30), (31, None))


class Outcome(NamedTuple):
    """A record with exactly one relation, its gold label, and what was predicted for it with which probability (in [0, 1])."""

    record: Record
    gold: str
    predicted: str
    score: float


def entity_pair(record: Record) -> tuple[str, str]:
    """The (head, tail) of a record's relation as lower-cased text, so that a pair is recognised wherever it stands.

    Raises:
      ValueError: if the record does not have exactly one relation.
    """
    if len(record.relations) != 1:
        raise ValueError(f"record {record.id}: expected exactly one relation, found {len(record.relations)}")
    relation = record.relations[0]
    return record.text(relation.head.span).lower(), record.text(relation.tail.span).lower()


def entity_pairs(records: Iterable[Record]) -> frozenset[tuple[str, str]]:
    """All (head, tail) pairs of `records`, of the training split say: what `slices` takes as `seen`."""
    return frozenset(entity_pair(record) for record in records)


def ids(outcomes: Sequence[Outcome], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Gold and predicted labels as positions in `labels`: two int32 arrays [N].

    Raises:
      ValueError: naming the record whose gold or predicted label is not in `labels`.
    """
    place = {label: number for number, label in enumerate(labels)}
    for outcome in outcomes:
        for role, label in (("gold", outcome.gold), ("predicted", outcome.predicted)):
            if label not in place:
                raise ValueError(f"record {outcome.record.id}: the {role} relation {label!r} is not one of {', '.join(labels)}")
    gold = np.array([place[outcome.gold] for outcome in outcomes], np.int32)
    return gold, np.array([place[outcome.predicted] for outcome in outcomes], np.int32)


def confusion_counts(outcomes: Sequence[Outcome], labels: Sequence[str]) -> np.ndarray:
    """How often gold relation i was predicted as relation j: int64 [R, R], rows gold."""
    return relation.confusion_counts(*ids(outcomes, labels), len(labels))


def per_relation(outcomes: Sequence[Outcome], labels: Sequence[str], none: int, metrics: Metrics) -> list[Row]:
    """One row a relation, in the order of `labels`: relation, precision, recall, f1, support (how often it is gold).

    Relations that `metrics` leaves out (the empty one, if it does) are left out here.
    """
    scores = metrics(*ids(outcomes, labels), labels, none)["per_relation"]
    columns = ("precision", "recall", "f1", "support")
    return [{"relation": label, **{key: scores[label][key] for key in columns}} for label in labels if label in scores]


def slices(
    outcomes: Sequence[Outcome],
    labels: Sequence[str],
    none: int,
    metrics: Metrics,
    *,
    has_picture: Callable[[Record], bool],
    seen: frozenset[tuple[str, str]],
) -> list[Row]:
    """Scores of the whole and of its slices: by picture, by whether training had the entity pair, by words in the sentence.

    Args:
      none: position of the empty relation in `labels`; micro-F1 does not count it.
      has_picture: whether the system saw a picture of this record (a path alone does not say that the file can be read).
      seen: the training split's pairs, from `entity_pairs`.

    Returns:
      Rows slice, count, accuracy, f1 (micro). An empty slice has count 0 and None for its scores. Each of the three splits
      divides the whole: its counts add up to that of the first row.
    """
    tests: list[tuple[str, Callable[[Record], bool]]] = [
        ("all", lambda record: True),
        ("with picture", has_picture),
        ("without picture", lambda record: not has_picture(record)),
        ("entity pair seen in training", lambda record: entity_pair(record) in seen),
        ("entity pair not seen", lambda record: entity_pair(record) not in seen),
    ]
    tests += [(_length_name(*bounds), lambda record, bounds=bounds: _has_length(record, *bounds)) for bounds in LENGTHS]
    rows: list[Row] = []
    for name, test in tests:
        chosen = [outcome for outcome in outcomes if test(outcome.record)]
        if chosen:
            scores = metrics(*ids(chosen, labels), labels, none)
            rows.append({"slice": name, "count": len(chosen), "accuracy": scores["accuracy"], "f1": scores["micro"]["f1"]})
        else:
            rows.append({"slice": name, "count": 0, "accuracy": None, "f1": None})
    return rows


def _length_name(low: int, high: int | None) -> str:
    if high is None:
        return f"more than {low - 1} words"
    return f"{low} to {high} words" if low > 1 else f"up to {high} words"


def _has_length(record: Record, low: int, high: int | None) -> bool:
    return len(record.words) >= low and (high is None or len(record.words) <= high)


def table(rows: Sequence[Mapping[str, str | int | float | None]], columns: Sequence[str]) -> str:
    """`rows` as aligned plain text: a head line, a rule, a line per row; no trailing blanks, no final newline.

    Columns holding only numbers are aligned right, others left; floats have three decimals, None is shown as '-'.

    Raises:
      ValueError: naming the first row that lacks a column.
    """
    for number, row in enumerate(rows):
        if lacking := [column for column in columns if column not in row]:
            raise ValueError(f"row {number} lacks {', '.join(lacking)}; it has {', '.join(row)}")
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[at]) for line in cells)]) for at, column in enumerate(columns)]
    right = [bool(rows) and all(not isinstance(row[column], str) for row in rows) for column in columns]
    lines = [list(columns), ["-" * width for width in widths], *cells]
    padded = [
        [cell.rjust(width) if at_right else cell.ljust(width) for cell, width, at_right in zip(line, widths, right, strict=True)]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, (float, np.floating)) else str(value)
