"""Triple extraction (MORTE): all (entity span, relation, box) of a sentence and its picture, none given beforehand."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mmre_jax import boxes
from mmre_jax.data.dataset import RecordSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.text import TextEncoder
from mmre_jax.declare import Section, number, whole
from mmre_jax.records import Box, Mention, Record, RecordError, Triple
from mmre_jax.tasks import triple_metrics
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.tasks.task import Found, Outputs
from mmre_jax.tasks.triple_spans import place_of, said_spans

Target = tuple[int, int, int, Box]  # token of the span's first piece, token of its last, relation, box

SETTINGS: Section = {  # what counts as a triple, in training, in decoding and in the metrics
    "max_targets": whole(24, "[1, inf)", "gold triples a record can train with"),
    "threshold": number(0.0, "[0, 1]", "lowest score of a predicted triple"),
    "merge_iou": number(0.7, "(0, 1]", "predictions of one span and relation are one from this overlap on; 1: only where all is equal"),
    "iou": number(0.5, "[0, 1)", "above this overlap a box is found"),
}
LEFT_OUT = ("beyond_max_targets", "truncated", "without_pieces")
_ROUNDING = 1e-6  # by which the IoU of equal boxes may fall short of 1


@dataclasses.dataclass(frozen=True)
class TriplesTask:
    """One example is a record with any number of triples, none included.

    labels: the relations in the order of the head's outputs, one more of which, the last, says that there is no triple.
    none: a name for that last output, not among the labels.
    max_targets: T, the gold triples of a record that training can hold.
    threshold: lowest score of a predicted triple.
    merge_iou: predictions of one span and relation whose boxes overlap by this much are one triple; 1 merges equal boxes only.
    iou: above which overlap a box counts as found, in the metrics.
    queries: the triples the system can predict of a record, for the metrics; None where it has no such limit.
    weights: of boxes in the matching of training, by which the metrics match, too.
    calibration: of the scores of triples.
    unseen_boxes: whether a triple has a box where no picture was seen, too, as the published measures have it.

    Raises:
      ValueError: for a `none` that is one of the labels.
    """

    encoder: TextEncoder
    labels: tuple[str, ...]
    none: str
    max_targets: int
    threshold: float = 0.0
    merge_iou: float = 0.7
    iou: float = 0.5
    queries: int | None = None
    weights: triple_metrics.BoxWeights = triple_metrics.BoxWeights()
    calibration: Calibration = Calibration()
    unseen_boxes: bool = True

    headline: ClassVar[tuple[str, ...]] = (
        "triple.strict.f1",
        "triple.strict.precision",
        "triple.strict.recall",
        "pair.f1",
        "relation.accuracy",
        "entity.accuracy",
    )

    def __post_init__(self) -> None:
        if self.none in self.labels:
            raise ValueError(f"{self.none!r} says that there is no triple, so it cannot be one of the labels {list(self.labels)} too")

    def examples(self, records: RecordSource) -> list[Record]:
        """The records as they are.

        Raises:
          RecordError: for a relation that is not among the labels, or a triple without a box.
        """
        found = [records[index] for index in range(len(records))]
        for record in found:
            for place, triple in enumerate(record.triples):
                self.label_id(triple.label, record)
                if triple.box is None:
                    where = f"{record.origin or record.id}: triples[{place}]"
                    raise RecordError(f"{where}: a triple without a box can be neither learnt from nor scored")
        return found

    def encode(self, records: Sequence[Record]) -> list[Encoded]:
        """The sentence of each record."""
        return self.encoder.encode_all([record.words for record in records])

    def features(self, record: Record, length: int, encoded: Encoded | None = None) -> dict[str, Any]:
        """Model inputs and targets of one example: text {ids int32 [L], mask bool [L]}, and targets with T rows, `valid` ones first:
        start, end int32 [T] (tokens of the span's first and last piece), relation int32 [T], box float32 [T, 4] (cx, cy, w, h),
        valid bool [T].

        Triples that `left_out` counts have no row. Rows that are not valid hold the whole picture, a box that nothing divides by zero on.

        Raises:
          RecordError: for a relation that is not among the labels.
        """
        encoded = encoded or self.encoder.encode(record.words)
        ids = np.full(length, self.encoder.special_ids["pad"], np.int32)
        ids[: len(encoded)] = encoded.ids
        rows, _ = self._targets(record, encoded)
        blank: Target = (0, 0, 0, (0.0, 0.0, 1.0, 1.0))
        start, end, relation, box = zip(*rows, *[blank] * (self.max_targets - len(rows)), strict=True)
        return {
            "text": {"ids": ids, "mask": np.arange(length) < len(encoded)},
            "targets": {
                "start": np.array(start, np.int32),
                "end": np.array(end, np.int32),
                "relation": np.array(relation, np.int32),
                "box": boxes.to_centres(np.array(box, np.float64)).astype(np.float32),
                "valid": np.arange(self.max_targets) < len(rows),
            },
        }

    def left_out(self, examples: Sequence[Record], encoded: Sequence[Encoded] | None = None) -> dict[str, int]:
        """How many gold triples training does not see; the metrics count them all the same.

        Returns:
          beyond_max_targets: of a record that has more; the first ones are kept.  truncated: a part of the span lies beyond the longest
          sequence.  without_pieces: the tokenizer leaves nothing of the span.
        """
        total = Counter[str](dict.fromkeys(LEFT_OUT, 0))
        for record, each in zip(examples, self.encode(examples) if encoded is None else encoded, strict=True):
            total.update(self._targets(record, each)[1])
        return dict(total)

    def _targets(self, record: Record, encoded: Encoded) -> tuple[list[Target], dict[str, int]]:
        rows: list[Target] = []
        left = dict.fromkeys(LEFT_OUT, 0)
        for triple in record.triples:
            relation = self.label_id(triple.label, record)
            place = place_of(triple.mention.span, encoded)
            if isinstance(place, str):
                left[place] += 1
            elif len(rows) == self.max_targets:
                left["beyond_max_targets"] += 1
            else:
                rows.append((*place, relation, triple.box))
        return rows, left

    def label_id(self, label: str, record: Record) -> int:
        """The index of a relation.

        Raises:
          RecordError: naming the record, if the relation is not among the labels.
        """
        if label not in self.labels:
            raise RecordError(f"{record.origin or record.id}: triples: {label!r} is not one of {', '.join(self.labels)}")
        return self.labels.index(label)

    def decode(self, prediction: Mapping[str, np.ndarray], record: Record, encoded: Encoded | None = None) -> tuple[Triple, ...]:
        """The triples that the queries of one example say, best first.

        A query's span is the most probable one of whole words, p_start(first piece of its first word) * p_end(last piece of its last
        word); its score p(relation) * p_start * p_end. A query says nothing if 'no triple' is its most probable relation, if its score
        is below the threshold, or if its box, clipped to the picture, has no width or no height (or is not a number). Repetitions are
        merged. Without `unseen_boxes` the triples of a record of which no picture was seen have no box, and none is dropped for its box.
        What is found, and in which order, is decided by these scores; then they are calibrated. The mention's own is p_start * p_end.

        Args:
          prediction: probabilities start, end float [Q, L] and relation [Q, R + 1], the last being 'no triple'; box [Q, 4] xyxy; seen bool,
            whether any picture was seen, True if it is not there.
        """
        encoded = encoded or self.encoder.encode(record.words)
        placed = self.unseen_boxes or bool(prediction.get("seen", True))
        spans, sure = said_spans(prediction, encoded.words)
        relation = prediction["relation"].argmax(axis=-1)
        scores = sure * prediction["relation"].max(axis=-1)
        clipped = np.clip(prediction["box"], 0.0, 1.0)
        solid = (clipped[:, :2] < clipped[:, 2:]).all(axis=-1)
        said = (relation < len(self.labels)) & (scores >= self.threshold) & (solid | (not placed))
        found = [
            Triple(
                mention=Mention(*map(int, spans[q]), score=float(sure[q])),
                label=self.labels[relation[q]],
                box=tuple(map(float, clipped[q])) if placed else None,
                score=float(scores[q]),
            )
            for q in np.flatnonzero(said)
        ]
        merged = merge(found, self.merge_iou)
        return tuple(dataclasses.replace(triple, score=float(self.calibration.event(triple.score))) for triple in merged)

    def answers(self, outputs: Outputs, record: Record, encoded: Encoded | None = None) -> triple_metrics.Answers:
        """What all queries say of the record's gold triples, before anything is dropped or merged: a query's span is that of `decode`, its
        relation the most probable one, the empty one included. A gold span that is not wholly among the tokens has probability 0.

        Args:
          outputs: as for `decode`.
        """
        encoded = encoded or self.encoder.encode(record.words)
        relation = outputs["relation"]
        ids = np.array([self.label_id(triple.label, record) for triple in record.triples], np.int64)
        entity = np.zeros((len(ids), len(relation)))
        for gold, triple in enumerate(record.triples):
            place = place_of(triple.mention.span, encoded)
            if not isinstance(place, str):
                entity[gold] = outputs["start"][:, place[0]] * outputs["end"][:, place[1]]
        spans = np.array([triple.mention.span for triple in record.triples], np.int64).reshape(-1, 1, 2)
        said, sure = said_spans(outputs, encoded.words)
        right_entity = (spans == said).all(axis=-1) & np.isfinite(sure)
        right_relation = (ids[:, None] == relation.argmax(axis=-1)) & np.isfinite(relation).all(axis=-1)
        return triple_metrics.Answers(entity, relation[:, ids].T, right_entity, right_relation, outputs["box"].astype(np.float64))

    def metrics(
        self,
        records: Sequence[Record],
        predicted: Sequence[Found],
        outputs: Sequence[Outputs] | None = None,
        encoded: Sequence[Encoded] | None = None,
    ) -> dict[str, Any]:
        """`triple_metrics.metrics` of the records' triples, all of them, and of those found by whatever program.

        Args:
          outputs: as for `decode`, of each record: relation and entity accuracy are then those of all queries. None for a program without
            queries: they are those of the triples that it found.

        Raises:
          RecordError: naming the record, if a relation on either side is not among the labels.
        """
        for record, found in zip(records, predicted, strict=True):
            for triple in (*record.triples, *found):
                self.label_id(triple.label, record)
        gold = [record.triples for record in records]
        answers = None
        if outputs is not None:
            encoded = self.encode(records) if encoded is None else encoded
            answers = [self.answers(*each) for each in zip(outputs, records, encoded, strict=True)]
        how = {"iou": self.iou, "queries": self.queries, "answers": answers, "weights": self.weights}
        return triple_metrics.metrics(gold, predicted, self.labels, **how)

    def stratum(self, record: Record) -> str:
        """The relations that occur in the record, in alphabetical order."""
        return " + ".join(sorted({triple.label for triple in record.triples})) or self.none


def merge(triples: Sequence[Triple], iou: float) -> tuple[Triple, ...]:
    """The triples, best score first, without repetitions: of those with one span and relation whose boxes overlap by `iou` or more, or that
    have none, the best alone stays (set prediction lets several queries say the same)."""
    kept: list[Triple] = []
    for triple in sorted(triples, key=lambda triple: -(triple.score or 0.0)):
        same = [other.box for other in kept if other.mention.span == triple.mention.span and other.label == triple.label]
        placed = [box for box in same if box is not None]
        if triple.box is None:
            repeated = len(placed) < len(same)
        else:
            repeated = bool(placed) and boxes.pairwise_iou(np.array([triple.box]), np.array(placed)).max() >= iou - _ROUNDING
        if not repeated:
            kept.append(triple)
    return tuple(kept)
