"""One evaluation protocol: scores, a table per relation, slices and a confusion picture, for our checkpoints and anyone's predictions."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmre_jax.analysis import plots, report
from mmre_jax.analysis.report import Outcome
from mmre_jax.records import Record, RecordError
from mmre_jax.tasks.relation import metrics
from mmre_jax.training.log import write_json


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A scored split.

    outcomes: one per example.  seen: ids of the examples of which a picture was seen.  protocol: see training/setup.py.
    """

    split: str
    labels: tuple[str, ...]
    none: str
    outcomes: Sequence[Outcome]
    seen: frozenset[str]
    train_pairs: frozenset[tuple[str, str]]
    protocol: Mapping[str, Any]

    @property
    def none_id(self) -> int:
        """Index of the empty relation."""
        return self.labels.index(self.none)

    def scores(self) -> dict[str, Any]:
        """The task's metrics (tasks/relation.py)."""
        return metrics(*report.ids(self.outcomes, self.labels), self.labels, self.none_id)

    def slices(self) -> list[dict[str, Any]]:
        """Scores with and without a picture, by whether training had the entity pair, and by sentence length."""
        return report.slices(
            self.outcomes, self.labels, self.none_id, metrics, has_picture=lambda record: record.id in self.seen, seen=self.train_pairs
        )

    def text(self) -> str:
        """Both tables, for a terminal."""
        relations = report.per_relation(self.outcomes, self.labels, self.none_id, metrics)
        relations.sort(key=lambda row: -int(row["support"] or 0))
        parts = [report.table(rows, list(rows[0])) for rows in (relations, self.slices()) if rows]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Scores under the split's name, slices, protocol."""
        return {self.split: self.scores(), "slices": self.slices(), "protocol": dict(self.protocol)}

    def write(self, folder: pathlib.Path) -> None:
        """Writes metrics.json, predictions.jsonl and confusion.png into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "metrics.json", self.to_json())
        lines = [
            json.dumps({"id": o.record.id, "relation": o.predicted, "score": round(o.score, 6), "gold": o.gold}, ensure_ascii=False)
            for o in self.outcomes
        ]
        (folder / "predictions.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        plots.save(plots.confusion(report.confusion_counts(self.outcomes, self.labels), self.labels), folder / "confusion.png")


def outcome(record: Record, predicted: str, score: float, labels: Sequence[str]) -> Outcome:
    """The outcome of one example.

    Raises:
      RecordError: if the example has no gold relation, or one that is not among the labels.
    """
    gold = record.relations[0].label
    if gold not in labels:
        found = "no label, and cannot be scored" if gold is None else f"the label {gold!r}, which is not one of {', '.join(labels)}"
        raise RecordError(f"{record.origin or record.id}: the relation of {record.id!r} has {found}")
    return Outcome(record, gold, predicted, score)


def read_predictions(path: str | os.PathLike[str], examples: Sequence[Record], labels: Sequence[str]) -> list[Outcome]:
    """Any program's predictions: JSON lines {"id": example, "relation": label, "score": optional probability}, one per example.

    Other keys are not looked at. The outcomes are in the order of the examples.

    Raises:
      RecordError: naming the line, for broken JSON, an unknown or repeated id, an unknown relation or a score that is no number; if
        examples are missing; and if one has no gold relation.
    """
    try:
        lines = pathlib.Path(path).read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8 text ({error})") from error
    found: dict[str, tuple[str, float]] = {}
    ids = {record.id for record in examples}
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, label, score = _prediction(line, f"{path}:{number}", ids, labels)
            if name in found:
                raise RecordError(f"{path}:{number}: field 'id': {name!r} was predicted before")
            found[name] = (label, score)
    if missing := sorted(ids - found.keys()):
        raise RecordError(f"{path}: {len(missing)} of {len(ids)} examples have no prediction, such as {', '.join(missing[:3])}")
    return [outcome(record, *found[record.id], labels) for record in examples]


def _prediction(line: str, where: str, ids: set[str], labels: Sequence[str]) -> tuple[str, str, float]:
    try:
        row = json.loads(line, parse_int=float)  # a number too large for a float becomes infinite, which is refused below
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict) or not {"id", "relation"} <= row.keys():
        raise RecordError(f'{where}: expected an object with "id" and "relation", found {line.strip()[:120]}')
    name, label, score = row["id"], row["relation"], row.get("score")
    if not isinstance(name, str) or name not in ids:
        raise RecordError(f"{where}: field 'id': {name!r} is not an example of this split, whose ids look like {min(ids, default='')!r}")
    if label not in labels:
        raise RecordError(f"{where}: field 'relation': {label!r} is not one of {', '.join(labels)}")
    score = 1.0 if score is None else score
    if not isinstance(score, float) or not math.isfinite(score):
        raise RecordError(f"{where}: field 'score': expected a number, found {score!r}")
    return name, label, score
