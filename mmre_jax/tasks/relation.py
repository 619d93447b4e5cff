"""Relation extraction (MRE): which relation holds from a head mention to a tail mention, None included."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mmre_jax.data.dataset import RecordSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.text import Span, TextEncoder
from mmre_jax.records import Record, RecordError, Relation
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.tasks.prompted import Prompted
from mmre_jax.tasks.task import Found, Outputs, precision_recall_f1

LEFT_OUT = ("sentences_cut", "words_cut_off", "entities_cut")
BLANK_SPANS = ((0, 1), (1, 2))  # of head and tail where the words are blanked out


@dataclasses.dataclass(frozen=True)
class RelationTask:
    """One example is a record with exactly one relation.

    labels: all relations in the order of the classifier's outputs.  none: the label that says that no relation holds.
    blank_words: the image-only control: every word is a mask token and the markers stand at fixed places.
    prompted: what the system asks of a record beside its sentence, if anything.
    calibration: of probabilities.
    top: of how many labels, the most likely ones, a predicted relation tells the probability, as `alternatives`.
    """

    encoder: TextEncoder
    labels: tuple[str, ...]
    none: str
    blank_words: bool = False
    prompted: Prompted | None = None
    calibration: Calibration = Calibration()
    top: int = 0

    headline: ClassVar[tuple[str, ...]] = ("micro.f1", "micro.precision", "micro.recall", "accuracy")

    def __post_init__(self) -> None:
        if self.none not in self.labels:
            raise ValueError(f"the empty relation {self.none!r} is not among the labels {list(self.labels)}")

    @property
    def none_id(self) -> int:
        return self.labels.index(self.none)

    def examples(self, records: RecordSource) -> list[Record]:
        """One record per relation.

        Raises:
          RecordError: for a pair without a label, which can be neither learnt from nor scored, or with one that is not among the labels.
        """
        found = examples(records)
        for record in found:
            if record.relations[0].label is None:
                where = record.origin or record.id
                raise RecordError(f"{where}: relations: a pair without a label can be neither learnt from nor scored")
            self.label_id(record.relations[0].label, record)
        return found

    def encode(self, records: Sequence[Record]) -> list[Encoded]:
        """The marked sentence of each example, with its caption where captions are read."""
        if self.blank_words:
            blank = self._blank()
            found = [blank for _ in records]
        else:
            found = self.encoder.encode_pairs([(record.words, *self._spans(record)) for record in records])
        return found if self.prompted is None else self.prompted.captioned(found, records, self.encoder)

    def _spans(self, record: Record) -> tuple[Span, Span]:
        """Head and tail in the words that are read."""
        relation = record.relations[0]
        return BLANK_SPANS if self.blank_words else (relation.head.span, relation.tail.span)

    def _blank(self) -> Encoded:
        marked = self.encoder.encode_pair(("x", "x"), *BLANK_SPANS)
        return dataclasses.replace(marked, ids=np.where(marked.words >= 0, np.int32(self.encoder.special_ids["mask"]), marked.ids))

    def features(self, record: Record, length: int, encoded: Encoded | None = None) -> dict[str, Any]:
        """Model inputs of one example, padded to `length` tokens: text.ids int32 [L], text.mask bool [L], text.markers int32 [2], label
        int32; and what `prompted` adds.

        An example without a label (to be predicted) gets label 0.

        Raises:
          RecordError: for a relation that is not among the labels.
        """
        encoded = encoded or self.encode([record])[0]
        spans, pad = self._spans(record), self.encoder.special_ids["pad"]
        more = {} if self.prompted is None else self.prompted.features(record, encoded, spans, pad, length)
        ids = np.full(length, pad, np.int32)
        ids[: len(encoded)] = encoded.ids
        label = record.relations[0].label
        return {
            **more,
            "text": {"ids": ids, "mask": np.arange(length) < len(encoded), "markers": np.array(encoded.markers, np.int32)},
            "label": np.int32(0 if label is None else self.label_id(label, record)),
        }

    def label_id(self, label: str, record: Record) -> int:
        """The index of a relation.

        Raises:
          RecordError: naming the record, if the relation is not among the labels.
        """
        if label not in self.labels:
            raise RecordError(f"{record.origin or record.id}: relation: {label!r} is not one of {', '.join(self.labels)}")
        return self.labels.index(label)

    def decode(self, prediction: Mapping[str, np.ndarray], record: Record, encoded: Encoded | None = None) -> tuple[Relation, ...]:
        """The predicted relation of one example, scored with its calibrated probability, and with the likeliest `top` labels and theirs.

        Args:
          prediction: probabilities float [R].
        """
        del encoded
        best = int(np.argmax(prediction["probabilities"]))
        chances = self.calibration.distribution(prediction["probabilities"])
        likely = np.argsort(-prediction["probabilities"], kind="stable")[: self.top]
        alternatives = tuple((self.labels[i], float(chances[i])) for i in likely)
        return (dataclasses.replace(record.relations[0], label=self.labels[best], score=float(chances[best]), alternatives=alternatives),)

    def metrics(
        self,
        records: Sequence[Record],
        predicted: Sequence[Found],
        outputs: Sequence[Outputs] | None = None,
        encoded: Sequence[Encoded] | None = None,
    ) -> dict[str, Any]:
        """`metrics` over the labels of the examples' relations and of those found for them, one each."""
        index = {label: i for i, label in enumerate(self.labels)}
        both = [[record.relations[0] for record in records], [found[0] for found in predicted]]
        ids = [np.array([index[str(relation.label)] for relation in relations], np.int64) for relations in both]
        return metrics(ids[0], ids[1], self.labels, self.none_id)

    def left_out(self, examples: Sequence[Record], encoded: Sequence[Encoded] | None = None) -> dict[str, int]:
        """What of the examples' sentences training does not see, since they are cut around their entities.

        Returns:
          sentences_cut: examples of which some piece is cut off.  words_cut_off: words with no piece left.  entities_cut: heads and tails
          with a piece cut off. Nothing of these where the words are blanked out on purpose.  regions_without_box, and
          pictures_without_objects, examples that have a picture and no box in it: of a system that reads objects at their boxes, where
          there are any.
        """
        total = Counter[str](dict.fromkeys(() if self.blank_words else LEFT_OUT, 0))
        read_of = () if self.blank_words else self.encode(examples) if encoded is None else encoded
        for record, each in zip(examples, read_of, strict=not self.blank_words):
            owners, read = Counter(each.whole.tolist()), Counter(each.words.tolist())
            if lost := {word for word, pieces in owners.items() if pieces > read[word]}:
                total["sentences_cut"] += 1
                total["words_cut_off"] += sum(not read[word] for word in lost)
                spans = [side.span for side in (record.relations[0].head, record.relations[0].tail)]
                total["entities_cut"] += sum(not lost.isdisjoint(range(*span)) for span in spans)
        if self.prompted is not None:
            lacking = {"regions_without_box": self.prompted.unusable, "pictures_without_objects": self.prompted.is_bare}
            for name, count in lacking.items():
                if lost := sum(map(count, examples)):
                    total[name] = lost
        return dict(total)

    def stratum(self, record: Record) -> str:
        """The example's relation."""
        return str(record.relations[0].label)


def examples(records: RecordSource) -> list[Record]:
    """One record per relation: a record with n relations becomes n (ids get a suffix), one without any none."""
    found = []
    for record in map(records.__getitem__, range(len(records))):
        if len(record.relations) == 1:
            found.append(record)
            continue
        for i, relation in enumerate(record.relations):
            found.append(dataclasses.replace(record, id=f"{record.id}#{i}", relations=(relation,)))
    return found


def metrics(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[str], none: int) -> dict[str, Any]:
    """MNRE's measures: accuracy over all classes; micro P/R/F1 over predictions and golds that are not None; macro over relations.

    Args:
      gold, predicted: int [N], class indices.
      none: index of the empty relation, which is never counted as a hit.

    Returns:
      count, accuracy, micro and macro {precision, recall, f1}, per_relation {label: {precision, recall, f1, support}} (None included,
      for reading; it is in no average). A ratio without a denominator is 0. Macro averages over relations with gold support.
    """
    confusion = confusion_counts(gold, predicted, len(labels))
    hits, golds, guesses = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    real = np.arange(len(labels)) != none
    per_relation = {
        label: {**precision_recall_f1(int(hits[i]), int(guesses[i]), int(golds[i])), "support": int(golds[i])}
        for i, label in enumerate(labels)
    }
    supported = [per_relation[labels[i]] for i in np.flatnonzero(real & (golds > 0))]
    return {
        "count": len(gold),
        "accuracy": float(hits.sum() / len(gold)) if len(gold) else 0.0,
        "micro": precision_recall_f1(int(hits[real].sum()), int(guesses[real].sum()), int(golds[real].sum())),
        "macro": {k: float(np.mean([row[k] for row in supported])) if supported else 0.0 for k in ("precision", "recall", "f1")},
        "per_relation": per_relation,
    }


def confusion_counts(gold: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """counts[g, p] = number of records of class g predicted as p; int [classes, classes]."""
    return np.bincount(gold.astype(np.int64) * classes + predicted, minlength=classes * classes).reshape(classes, classes)
