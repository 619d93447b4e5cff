"""Scores of (entity, relation, box) triples: Algorithm 1 of QEOT in a strict form and as printed, pairs, and accuracies.

Entities are compared by span. A key is a span with a relation; a record may have several boxes under one key. A predicted triple without a
box, of a post without a picture, has no right box.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are used

from mmre_jax import boxes
from mmre_jax.records import Triple
from mmre_jax.tasks.task import precision_recall_f1

Key = tuple[tuple[int, int], str]
Pairs = list[tuple[int, int]]  # (index of a gold triple, index of a predicted one or of an answer)

_IMPOSSIBLE = 1e9  # cost of an answer that is not a number, beyond all that boxes and probabilities can cost
_NOWHERE = (np.nan,) * 4  # of a triple without a box, which overlaps with none


@dataclasses.dataclass(frozen=True)
class Answers:
    """What is matched with the G gold triples of a record: the Q queries of a system, or the Q triples of a program without queries.

    entity, relation: float [G, Q], the probability that an answer gives to the gold span and to the gold relation.
    right_entity, right_relation: bool [G, Q], whether the gold span and relation are what it says.
    box: float [Q, 4], corners.
    """

    entity: np.ndarray
    relation: np.ndarray
    right_entity: np.ndarray
    right_relation: np.ndarray
    box: np.ndarray


@dataclasses.dataclass(frozen=True)
class BoxWeights:
    """Lambda_L1 and lambda_giou of the matching cost (eq. 8), with the paper's values."""

    l1: float = 3.0
    giou: float = 3.5


def metrics(
    gold: Sequence[Sequence[Triple]],
    predicted: Sequence[Sequence[Triple]],
    labels: Sequence[str],
    *,
    iou: float = 0.5,
    queries: int | None = None,
    answers: Sequence[Answers] | None = None,
    weights: BoxWeights = BoxWeights(),
) -> dict[str, Any]:
    """QEOT's measures (section 4.1.3, Algorithm 1) over paired records.

    Args:
      gold, predicted: the triples of each record. No-triple predictions are not among them.
      labels: relations to be listed one by one.
      iou: a box is right where its intersection over union with a gold one is above this.
      queries: how many triples the system can find in a record at all; None where there is no such limit.
      answers: of each record what all queries say, for the accuracies; None where there are no queries: then the predicted triples are the
        answers (`stated`).
      weights: of the cost by which answers are matched with gold triples (`assign`).

    Returns:
      triple.strict, triple.paper {precision, recall, f1} (see `strict_matches`, `paper_counts`); pair {precision, recall, f1} of the
      distinct (entity, relation) of each record; relation, entity {accuracy, right, matched, of}: the share of all `of` gold triples whose
      matched answer has the right relation or span, `matched` of them having one; answers: how many there were in all; per_relation
      {label: strict precision, recall, f1, support}; count (records), gold and predicted (triples), iou; and, with `queries`,
      beyond_queries: gold triples that no system with so few queries could have found. A ratio without a denominator is 0.
    """
    if answers is None:
        answers = [stated(*both) for both in zip(gold, predicted, strict=True)]
    golds, guesses, hits = Counter[str](), Counter[str](), Counter[str]()
    paper, pair = np.zeros(3, np.int64), np.zeros(3, np.int64)
    matched, relations, entities, beyond = 0, 0, 0, 0
    for target, found, said in zip(gold, predicted, answers, strict=True):
        golds.update(triple.label for triple in target)
        guesses.update(triple.label for triple in found)
        hits.update(target[g].label for g, _ in strict_matches(target, found, iou))
        paper += paper_counts(target, found, iou)
        pair += _set_counts(map(_key, target), map(_key, found))
        pairs = assign(target, said, weights)
        matched += len(pairs)
        relations += sum(bool(said.right_relation[both]) for both in pairs)
        entities += sum(bool(said.right_entity[both]) for both in pairs)
        beyond += 0 if queries is None else max(0, len(target) - queries)
    right, guessed, total = hits.total(), guesses.total(), golds.total()
    paper_right, wrong, missed = map(int, paper)
    return {
        "triple": {
            "strict": precision_recall_f1(right, guessed, total),
            "paper": precision_recall_f1(paper_right, paper_right + wrong, paper_right + missed),
        },
        "pair": precision_recall_f1(*map(int, pair)),
        "relation": _accuracy(relations, matched, total),
        "entity": _accuracy(entities, matched, total),
        "answers": sum(len(said.box) for said in answers),
        "per_relation": {
            label: {**precision_recall_f1(hits[label], guesses[label], golds[label]), "support": golds[label]} for label in labels
        },
        "count": len(gold),
        "gold": total,
        "predicted": guessed,
        "iou": iou,
        **({} if queries is None else {"beyond_queries": beyond}),
    }


def strict_matches(gold: Sequence[Triple], predicted: Sequence[Triple], iou: float) -> Pairs:
    """A largest one-to-one matching of triples with the same key and boxes that overlap by more than `iou`.

    What it leaves over are the false positives and false negatives of the strict measure, whatever their keys.
    """
    golds, guesses = _by_key(gold), _by_key(predicted)
    found: Pairs = []
    for key in golds.keys() & guesses.keys():
        near = boxes.pairwise_iou(_boxes(gold, golds[key]), _boxes(predicted, guesses[key])) > iou
        best = scipy.optimize.linear_sum_assignment(near, maximize=True)
        found += [(golds[key][g], guesses[key][p]) for g, p in zip(*best, strict=True) if near[g, p]]
    return sorted(found)


def paper_counts(gold: Sequence[Triple], predicted: Sequence[Triple], iou: float) -> tuple[int, int, int]:
    """(true positives, false positives, false negatives) of one record by QEOT's Algorithm 1 as printed.

    A gold key that was not predicted is one false negative, whatever its number of boxes. Under any other gold key the boxes are assigned
    by the L1 distance of their (cx, cy, w, h), and each assigned pair is a true or a false positive by its IoU. Predicted keys that are
    not gold, and boxes that the assignment leaves over on either side, are not counted.

    The 1e-9 that the algorithm adds to each count would make precision and recall of nothing 0.5; they are left out.
    """
    golds, guesses = _by_key(gold), _by_key(predicted)
    right = wrong = missed = 0
    for key, members in golds.items():
        if key not in guesses:
            missed += 1
            continue
        targets, found = _boxes(gold, members), _boxes(predicted, guesses[key])
        distances = np.nan_to_num(_distances(targets, found), nan=_IMPOSSIBLE)
        overlap = boxes.pairwise_iou(targets, found)[scipy.optimize.linear_sum_assignment(distances)]
        right += int((overlap > iou).sum())
        wrong += int((~(overlap > iou)).sum())
    return right, wrong, missed


def stated(gold: Sequence[Triple], predicted: Sequence[Triple]) -> Answers:
    """Triples as the answers of queries that are sure of them: probability 1 for what they state, 0 for all else."""
    shape = len(gold), len(predicted)
    spans = np.array([[g.mention.span == p.mention.span for p in predicted] for g in gold], bool).reshape(shape)
    relations = np.array([[g.label == p.label for p in predicted] for g in gold], bool).reshape(shape)
    return Answers(spans.astype(np.float64), relations.astype(np.float64), spans, relations, _boxes(predicted, range(len(predicted))))


def assign(gold: Sequence[Triple], answers: Answers, weights: BoxWeights) -> Pairs:
    """Each gold triple with the answer that stands for it: as many pairs as there are gold triples, or answers where those are fewer.

    The assignment is that of training (eq. 7-8): it minimises the sum of -p_entity - p_relation + lambda_L1 L1 of (cx, cy, w, h) +
    lambda_giou (1 - GIoU) over all gold triples of the record, also those that training had no room for.
    """
    if not gold or not len(answers.box):
        return []
    targets = _boxes(gold, range(len(gold)))
    places = weights.l1 * _distances(targets, answers.box) + weights.giou * (1.0 - boxes.pairwise_giou(targets, answers.box))
    cost = places - answers.entity - answers.relation
    cost = np.where(np.isfinite(cost), cost, _IMPOSSIBLE)
    return [(int(g), int(q)) for g, q in zip(*scipy.optimize.linear_sum_assignment(cost), strict=True)]


def _distances(targets: np.ndarray, found: np.ndarray) -> np.ndarray:
    """L1 of (cx, cy, w, h), float [N, M], of xyxy boxes [N, 4] and [M, 4]."""
    return np.abs(boxes.to_centres(targets)[:, None] - boxes.to_centres(found)[None]).sum(-1)


def _key(triple: Triple) -> Key:
    return triple.mention.span, triple.label


def _by_key(triples: Sequence[Triple]) -> dict[Key, list[int]]:
    found: dict[Key, list[int]] = {}
    for index, triple in enumerate(triples):
        found.setdefault(_key(triple), []).append(index)
    return found


def _boxes(triples: Sequence[Triple], chosen: Iterable[int]) -> np.ndarray:
    return np.array([_NOWHERE if (box := triples[index].box) is None else box for index in chosen], np.float64).reshape(-1, 4)


def _set_counts(gold: Iterable[Key], predicted: Iterable[Key]) -> tuple[int, int, int]:
    """How many of the distinct keys are in both, predicted, and gold."""
    golds, guesses = set(gold), set(predicted)
    return len(golds & guesses), len(guesses), len(golds)


def _accuracy(right: int, matched: int, gold: int) -> dict[str, float]:
    return {"accuracy": right / gold if gold else 0.0, "right": right, "matched": matched, "of": gold}
