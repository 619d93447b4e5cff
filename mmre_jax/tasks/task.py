"""What the loader, the trainer and the evaluation know of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mmre_jax.data.dataset import RecordSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.text import TextEncoder
from mmre_jax.records import Mention, Record, Region, Relation, Triple

Found = tuple[Relation | Mention | Triple | Region, ...]
Outputs = Mapping[str, np.ndarray]  # what a system predicts of one example, without the batch's axis


class Task(Protocol):
    """Records to arrays, arrays back to what a person reads, and scores.

    An example's text is tokenised once, by `encode`, and what comes of it handed to all that asks for `encoded`; where that is None, it is
    tokenised anew.

    labels: classes in the order of the head's outputs.  none: the label that says that there is nothing.
    headline: names into `metrics`, levels joined by dots; the first one selects a run's best checkpoint, higher being better.
    """

    @property
    def encoder(self) -> TextEncoder: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def none(self) -> str: ...

    @property
    def headline(self) -> tuple[str, ...]: ...

    def examples(self, records: RecordSource) -> Sequence[Record]:
        """What is learnt from and scored; RecordError for a record that lacks what the task is to find."""
        ...

    def encode(self, records: Sequence[Record]) -> list[Encoded]:
        """The tokens of each example; those of a sentence that several share are found once."""
        ...

    def features(self, record: Record, length: int, encoded: Encoded | None = None) -> dict[str, Any]:
        """Model inputs and targets of one example, padded to `length` tokens; no leading axis."""
        ...

    def decode(self, prediction: Outputs, record: Record, encoded: Encoded | None = None) -> Found:
        """What a system's outputs for one example say, in the types of the annotation, scored."""
        ...

    def metrics(
        self,
        records: Sequence[Record],
        predicted: Sequence[Found],
        outputs: Sequence[Outputs] | None = None,
        encoded: Sequence[Encoded] | None = None,
    ) -> dict[str, Any]:
        """Scores as a tree of plain numbers: annotated examples, and what was found in each, by whatever program.

        outputs: what a system of ours predicted of each, for a task whose scores look at more than was found.
        """
        ...

    def left_out(self, examples: Sequence[Record], encoded: Sequence[Encoded] | None = None) -> dict[str, int]:
        """What of the examples' annotation training cannot be shown, counted by reason; empty where all can. The metrics count it all."""
        ...

    def stratum(self, record: Record) -> str:
        """The group of an example where a share of the examples is drawn group by group."""
        ...


def at(metrics: Mapping[str, Any], name: str) -> float:
    """The number under a dotted name such as 'micro.f1'."""
    value: Any = metrics
    for part in name.split("."):
        value = value[part]
    return float(value)


def precision_recall_f1(correct: int, predicted: int, gold: int) -> dict[str, float]:
    """precision, recall and f1 of counts; a ratio without a denominator is 0."""
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / gold if gold else 0.0,
        "f1": 2 * correct / (predicted + gold) if predicted + gold else 0.0,
    }


def headline(task: Task, metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers one looks at first: {dotted name: value}."""
    return {name: at(metrics, name) for name in task.headline}


def as_line(values: Mapping[str, float]) -> str:
    """Numbers by name, on one line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
