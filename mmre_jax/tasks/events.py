"""Predictions as events that are right or wrong, beside their scores: what a score's honesty is judged by.

A relation is right if its label is the annotated one, the empty one included. A mention is right if one with its span and type is
annotated; said twice it is one, and the first score counts. Triples are right if they are matched by the strict measure
(triple_metrics.strict_matches), those without a box, of posts without a picture, if one with their span and relation is annotated; of
several such the first alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmre_jax.records import Mention, Record, Relation, Triple
from mmre_jax.tasks.calibration import Calibration, fit_distribution, fit_events
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.tasks.task import Found, Outputs, Task
from mmre_jax.tasks.triple_metrics import strict_matches
from mmre_jax.tasks.triples import TriplesTask

SCORED = (RelationTask, EntitiesTask, TriplesTask)  # whose scores say how probable it is that a prediction is right


@dataclasses.dataclass(frozen=True)
class Events:
    """Predictions of a split, in its order.

    score: float64 [N], in [0, 1].  right: bool [N].  something: bool [N], False for a prediction of the empty relation.
    annotated: how much there is to be found, without the empty relation.
    chances, gold: of relations, where the whole distribution is known, float [N, R], and the annotated label's index, int [N].
    """

    score: np.ndarray
    right: np.ndarray
    something: np.ndarray
    annotated: int
    chances: np.ndarray | None = None
    gold: np.ndarray | None = None

    def calibrated(self, calibration: Calibration) -> Events:
        """The same with calibrated scores."""
        if self.chances is None:
            return dataclasses.replace(self, score=np.asarray(calibration.event(self.score), np.float64))
        chances = np.asarray(calibration.distribution(self.chances), np.float64)
        return dataclasses.replace(self, chances=chances, score=chances[np.arange(len(chances)), self.chances.argmax(axis=1)])


def events(task: Task, records: Sequence[Record], predicted: Sequence[Found], outputs: Sequence[Outputs] | None = None) -> Events | None:
    """The events of a split; None where some prediction has no score, or one that is no probability, and for a task without such scores.
    A pair of which nothing was said, whose relation is the empty one without a score, is no event.

    Args:
      outputs: what a system of ours predicted of each record, for relations' distributions.
    """
    rows: list[tuple[float | None, bool, bool]] = []
    if isinstance(task, RelationTask):
        for record, found in zip(records, predicted, strict=True):
            [relation] = (each for each in found if isinstance(each, Relation))
            if relation.score is None and relation.label == task.none:
                continue
            rows.append((relation.score, relation.label == record.relations[0].label, relation.label != task.none))
        if records and not rows:
            return None
        annotated = sum(record.relations[0].label != task.none for record in records)
    elif isinstance(task, EntitiesTask):
        for record, found in zip(records, predicted, strict=True):
            gold = {(mention.span, mention.type) for mention in record.mentions}
            said: dict[tuple[tuple[int, int], str | None], Mention] = {}
            for each in found:
                if isinstance(each, Mention):
                    said.setdefault((each.span, each.type), each)
            rows += [(each.score, key in gold, True) for key, each in said.items()]
        annotated = sum(len({(mention.span, mention.type) for mention in record.mentions}) for record in records)
    elif isinstance(task, TriplesTask):
        for record, found in zip(records, predicted, strict=True):
            triples = [each for each in found if isinstance(each, Triple)]
            rows += [(each.score, right, True) for each, right in zip(triples, _right(record, triples, task.iou), strict=True)]
        annotated = sum(len(record.triples) for record in records)
    else:
        return None
    if any(score is None or not 0 <= score <= 1 for score, _, _ in rows):
        return None
    score, right, something = (np.array([row[i] for row in rows], kind) for i, kind in enumerate((np.float64, bool, bool)))
    if outputs is None or not isinstance(task, RelationTask):
        return Events(score, right, something, annotated)
    chances = np.array([own["probabilities"] for own in outputs], np.float64).reshape(-1, len(task.labels))
    gold_ids = np.array([task.label_id(str(record.relations[0].label), record) for record in records], np.int64)
    return Events(score, right, something, annotated, chances, gold_ids)


def fit(found: Events) -> Calibration:
    """The calibration of these events (calibration.py).

    Raises:
      CalibrationError: where there are none.
    """
    if found.chances is None or found.gold is None:
        return fit_events(found.score, found.right)
    return fit_distribution(found.chances, found.gold)


def _right(record: Record, predicted: Sequence[Triple], iou: float) -> list[bool]:
    placed = [index for index, triple in enumerate(predicted) if triple.box is not None]
    matched = {placed[p] for _, p in strict_matches(record.triples, [predicted[index] for index in placed], iou)}
    pairs = {(triple.mention.span, triple.label) for triple in record.triples}
    for index, triple in enumerate(predicted):
        if triple.box is None and (key := (triple.mention.span, triple.label)) in pairs:
            pairs.remove(key)
            matched.add(index)
    return [index in matched for index in range(len(predicted))]
