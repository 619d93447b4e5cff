"""What several programs have right, predicted and gold of each record: the sums that their scores, and tests of these, are made of."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mmre_jax.records import Mention, Record, Relation, Triple
from mmre_jax.tasks import triple_metrics
from mmre_jax.tasks.task import Found, Task

# The published scores of each task that are F1 of sums over records, under their names in the task's metrics; the headline's first.
MEASURES = {
    "relation": ("micro.f1", "accuracy"),
    "entities": ("entity.micro.f1",),
    "triples": ("triple.strict.f1", "triple.paper.f1", "pair.f1"),
}


@dataclasses.dataclass(frozen=True)
class Counts:
    """Of R programs and N records; the last axis is right, predicted, gold.

    measures: names of the M scores.  by_measure: int [R, N, M, 3].  classes: names of the C classes.  by_class: int [R, N, C, 3].
    right: bool [R, N], all of the record is found and nothing else.  agreement: bool [R, R, N], two programs say the same of it.
    """

    measures: tuple[str, ...]
    by_measure: np.ndarray
    classes: tuple[str, ...]
    by_class: np.ndarray
    right: np.ndarray
    agreement: np.ndarray


def check(kind: str) -> None:
    """Raises ValueError for a task that has no measure of this sort."""
    if kind not in MEASURES:
        known = ", ".join(MEASURES)
        raise ValueError(f"runs of the task {kind!r} cannot be compared: average precision is no function of sums over records; of {known}")


def gold(kind: str, record: Record) -> Found:
    """What is annotated of a record."""
    return {"relation": record.relations, "entities": record.mentions, "triples": record.triples}.get(kind, ())


def count(kind: str, task: Task, records: Sequence[Record], predicted: Sequence[Sequence[Found]]) -> Counts:
    """The counts of several programs' predictions, of each of the same records.

    A relation is right if its label is; an entity by exact span and type; a triple by the strict measure (triple_metrics.strict_matches).
    Two programs say the same of a record if each would be all right were the other the annotation.

    Args:
      task: of its kind; triples: with the IoU above which a box is right.
    """
    check(kind)
    iou, golds = getattr(task, "iou", 0.5), [gold(kind, record) for record in records]
    names = dict.fromkeys(_class(item) for found in (*golds, *(f for own in predicted for f in own)) for item in found)
    classes = tuple(dict.fromkeys([*(task.labels if kind == "relation" else ()), *sorted(names)]))
    place = {name: index for index, name in enumerate(classes)}
    by_class = np.zeros((len(predicted), len(records), len(classes), 3), np.int64)
    for own, row in zip(predicted, by_class, strict=True):
        for n, (target, found) in enumerate(zip(golds, own, strict=True)):
            for which, items in enumerate(_items(kind, target, found, iou)):
                for item in items:
                    row[n, place[item], which] += 1
    counts = {"relation": _of_relations, "entities": _of_entities, "triples": _of_triples}[kind]
    by_measure = counts(by_class, place.get(task.none), golds, predicted, iou)
    agreement = np.ones((len(predicted), len(predicted), len(records)), bool)
    for a, b in itertools.combinations(range(len(predicted)), 2):
        agreement[a, b] = agreement[b, a] = [_same(kind, *both, iou) for both in zip(predicted[a], predicted[b], strict=True)]
    return Counts(MEASURES[kind], by_measure, classes, by_class, _all_right(by_class.sum(axis=2)), agreement)


def _items(kind: str, target: Found, found: Found, iou: float) -> tuple[list[str], list[str], list[str]]:
    """The classes of what is right, predicted and gold of a record."""
    if kind == "entities":
        sides = [{(m.start, m.end, str(m.type)) for m in side if isinstance(m, Mention)} for side in (target, found)]
        right, guesses, golds = ([name for _, _, name in items] for items in (sides[0] & sides[1], sides[1], sides[0]))
        return right, guesses, golds
    golds, guesses = ([_class(item) for item in side] for side in (target, found))
    if kind == "relation":
        return (golds if golds == guesses else []), guesses, golds
    return [golds[g] for g, _ in triple_metrics.strict_matches(*_triples(target, found), iou)], guesses, golds


def _class(item: object) -> str:
    assert isinstance(item, (Relation, Mention, Triple))
    return str(item.type if isinstance(item, Mention) else item.label)


def _triples(*sides: Found) -> list[list[Triple]]:
    return [[item for item in side if isinstance(item, Triple)] for side in sides]


def _all_right(sums: np.ndarray) -> np.ndarray:
    """Whether what is right is all that is predicted and all that is gold; sums: [..., 3]."""
    return (sums[..., 0] == sums[..., 1]) & (sums[..., 0] == sums[..., 2])


def _same(kind: str, one: Found, other: Found, iou: float) -> bool:
    right, guesses, golds = _items(kind, one, other, iou)
    return len(right) == len(guesses) == len(golds)


def _of_relations(
    by_class: np.ndarray, none: int | None, golds: Sequence[Found], predicted: Sequence[Sequence[Found]], iou: float
) -> np.ndarray:
    """micro.f1 over all relations but the empty one; accuracy: one prediction and one gold of each record."""
    del golds, predicted, iou
    real = np.arange(by_class.shape[2]) != none
    right = by_class[..., 0].sum(axis=2)
    return np.stack([by_class[:, :, real].sum(axis=2), np.stack([right, np.ones_like(right), np.ones_like(right)], axis=-1)], axis=2)


def _of_entities(
    by_class: np.ndarray, none: int | None, golds: Sequence[Found], predicted: Sequence[Sequence[Found]], iou: float
) -> np.ndarray:
    del none, golds, predicted, iou
    return by_class.sum(axis=2, keepdims=True)


def _of_triples(
    by_class: np.ndarray, none: int | None, golds: Sequence[Found], predicted: Sequence[Sequence[Found]], iou: float
) -> np.ndarray:
    """Strict, Algorithm 1 as printed, and distinct pairs of entity and relation."""
    del none
    more = np.zeros((*by_class.shape[:2], 2, 3), np.int64)
    for own, row in zip(predicted, more, strict=True):
        for n, both in enumerate(zip(golds, own, strict=True)):
            target, found = _triples(*both)
            right, wrong, missed = triple_metrics.paper_counts(target, found, iou)
            row[n, 0] = right, right + wrong, right + missed
            pairs = [{(triple.mention.span, triple.label) for triple in side} for side in (target, found)]
            row[n, 1] = len(pairs[0] & pairs[1]), len(pairs[1]), len(pairs[0])
    return np.concatenate([by_class.sum(axis=2, keepdims=True), more], axis=2)
