"""Runs beside each other on the same records: scores, whether they differ by more than chance, by class, and where they disagree."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmre_jax.analysis import comparison_counts, report, significance
from mmre_jax.analysis.evaluation import Evaluation, row
from mmre_jax.records import RecordError

_OF_ONE_RUN = ("step", "predictions", "warning")  # what a protocol says that is no part of how runs are scored


@dataclasses.dataclass(frozen=True)
class Run:
    """A scored split of one run. config: what it was trained with; None for predictions of another program."""

    name: str
    evaluation: Evaluation
    config: ConfigDict | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs that were scored on the same records; make one with `compare`.

    resamples, seed: of the bootstrap.
    """

    runs: tuple[Run, ...]
    resamples: int
    seed: int

    @property
    def kind(self) -> str:
        """The task's name."""
        return self.runs[0].evaluation.kind

    @property
    def names(self) -> list[str]:
        """Of the runs."""
        return [run.name for run in self.runs]

    @functools.cached_property
    def counts(self) -> comparison_counts.Counts:
        """What is right, predicted and gold of each record, by class and by measure."""
        first = self.runs[0].evaluation
        return comparison_counts.count(self.kind, first.task, first.records, [run.evaluation.predicted for run in self.runs])

    @functools.cached_property
    def _resampled(self) -> np.ndarray:
        """F1 of each resample, float [resamples, runs, measures + classes]."""
        both = np.concatenate([self.counts.by_measure, self.counts.by_class], axis=2)  # runs, records, both, 3
        return significance.resampled_f1(both.transpose(1, 0, 2, 3), self.resamples, self.seed)

    def scores(self) -> list[report.Row]:
        """A row a run: its name, system, seed and step, as far as they are known, and the headline's scores."""
        rows: list[report.Row] = []
        for run in self.runs:
            system, seed = (run.config.system.name, run.config.train.seed) if run.config is not None else ("-", None)
            step = run.evaluation.protocol.get("step")
            rows.append({"run": run.name, "system": system, "seed": seed, "step": step, **run.evaluation.headline()})
        return rows

    def pairs(self) -> list[dict[str, Any]]:
        """Of each pair of runs: first, second, agreement (the share of records of which both predict the same), measures {name:
        {difference, low, high, p, p_holm}} and mcnemar {only_first, only_second, p, p_holm}. Holm's p values are adjusted over the pairs.
        """
        found: list[dict[str, Any]] = []
        totals = significance.f1(self.counts.by_measure.sum(axis=1))
        for a, b in itertools.combinations(range(len(self.runs)), 2):
            measures = {}
            for m, name in enumerate(self.counts.measures):
                resampled = self._resampled[:, a, m] - self._resampled[:, b, m]
                low, high = map(float, significance.interval(resampled))
                p = significance.p_value(resampled)
                measures[name] = {"difference": float(totals[a, m] - totals[b, m]), "low": low, "high": high, "p": p}
            test = dataclasses.asdict(significance.mcnemar(self.counts.right[a], self.counts.right[b]))
            agreement = float(self.counts.agreement[a, b].mean())
            found.append({"first": self.names[a], "second": self.names[b], "agreement": agreement, "measures": measures, "mcnemar": test})
        for tests in ([pair["mcnemar"] for pair in found], *([pair["measures"][m] for pair in found] for m in self.counts.measures)):
            for test, adjusted in zip(tests, significance.holm([test["p"] for test in tests]), strict=True):
                test["p_holm"] = adjusted
        return found

    def classes(self) -> list[dict[str, Any]]:
        """Of each class, in falling order of support: name, support, f1 {run: F1}, and against {run: {difference, low, high}}, the first
        run's F1 minus that run's, with its 95 % interval."""
        totals, offset = self.counts.by_class.sum(axis=1), len(self.counts.measures)
        scores, rows = significance.f1(totals), []
        for c, name in enumerate(self.counts.classes):
            against = {}
            for other in range(1, len(self.runs)):
                low, high = map(float, significance.interval(self._resampled[:, 0, offset + c] - self._resampled[:, other, offset + c]))
                against[self.names[other]] = {"difference": float(scores[0, c] - scores[other, c]), "low": low, "high": high}
            f1 = dict(zip(self.names, map(float, scores[:, c]), strict=True))
            rows.append({"name": name, "support": int(totals[0, c, 2]), "f1": f1, "against": against})
        return sorted(rows, key=lambda row: -row["support"])

    def disagreements(self) -> list[dict[str, Any]]:
        """Of each record of which some two runs predict different things: id, text, of relations head and tail, image, gold, predicted
        {run: what, with its score} and right [runs that have it wholly right]."""
        found = []
        for n in np.flatnonzero(~self.counts.agreement.all(axis=(0, 1))):
            record = self.runs[0].evaluation.records[n]
            lines = [row(self.kind, record, run.evaluation.predicted[n]) for run in self.runs]
            ends = {}
            if self.kind == "relation":
                pair = record.relations[0]
                ends = {"head": record.text(pair.head.span), "tail": record.text(pair.tail.span)}
            found.append(
                {
                    "id": record.id,
                    "text": " ".join(record.words),
                    **ends,
                    "image": record.image,
                    "gold": lines[0]["gold"],
                    "predicted": {run.name: _prediction(self.kind, line) for run, line in zip(self.runs, lines, strict=True)},
                    "right": [run.name for run, right in zip(self.runs, self.counts.right[:, n], strict=True) if right],
                }
            )
        return found

    def warnings(self) -> list[str]:
        """How the protocols of the runs differ, a line each; what a program of others looked at is not known, and not compared."""
        known = [run for run in self.runs if run.config is not None]
        names = dict.fromkeys(name for run in known for name in run.evaluation.protocol if name not in _OF_ONE_RUN)
        lines = []
        for name in names:
            values = [run.evaluation.protocol.get(name, run.config.data.get(name)) for run in known if run.config is not None]
            if any(value != values[0] for value in values):
                told = ", ".join(f"{run.name} {value}" for run, value in zip(known, values, strict=True))
                lines.append(f"the runs differ in more than what they learnt: {name}: {told}")
        return lines

    def settings(self) -> dict[str, dict[str, Any]]:
        """{setting: {run: value}} of the settings that are not the same in all runs of ours; None where a run has no such setting."""
        flat = {run.name: _flat(run.config.to_dict()) for run in self.runs if run.config is not None}
        names = dict.fromkeys(name for values in flat.values() for name in values)
        rows = {name: {run: values.get(name) for run, values in flat.items()} for name in names}
        return {name: values for name, values in rows.items() if any(value != next(iter(values.values())) for value in values.values())}

    def to_json(self) -> dict[str, Any]:
        """Everything but the disagreements, of which there is the number."""
        runs = [{**row, "protocol": dict(run.evaluation.protocol)} for row, run in zip(self.scores(), self.runs, strict=True)]
        return {
            "split": self.runs[0].evaluation.split,
            "task": self.kind,
            "records": len(self.counts.right[0]),
            "disagreements": int((~self.counts.agreement.all(axis=(0, 1))).sum()),
            "warnings": self.warnings(),
            "bootstrap": {"resamples": self.resamples, "seed": self.seed, "level": 0.95},
            "runs": runs,
            "pairs": self.pairs(),
            "classes": self.classes(),
            "settings": self.settings(),
        }


def compare(runs: Sequence[Run], resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Scored runs beside each other.

    Raises:
      ValueError: for fewer than two runs, two of one name, runs of different tasks or of different rules of what is right, or a task whose
        score is no function of sums over records.
      RecordError: naming the first record that is not the same for all runs.
    """
    check_names([run.name for run in runs], len(runs))
    for other in runs[1:]:
        _check_same(runs[0], other)
    comparison_counts.check(runs[0].evaluation.kind)
    return Comparison(tuple(runs), resamples, seed)


def check_names(names: Sequence[str], runs: int) -> None:
    """Raises ValueError for fewer than two runs, and for names that are not one for each, or not different."""
    if runs < 2:
        raise ValueError(f"a comparison is of two runs or more, found {runs}")
    if len(names) != runs:
        raise ValueError(f"{runs} runs need as many names, found {len(names)}: {', '.join(names)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two runs are called {', '.join(twice)}: give each a name of its own")


def _check_same(first: Run, other: Run) -> None:
    """Raises ValueError or RecordError where two runs were not scored on the same records by the same rules."""
    a, b, both = first.evaluation, other.evaluation, f"{first.name} and {other.name}"
    if a.kind != b.kind:
        raise ValueError(f"{both} cannot be compared: their tasks are {a.kind} and {b.kind}")
    for rule in ("none", "iou"):
        values = [getattr(evaluation.task, rule, None) for evaluation in (a, b)]
        if values[0] != values[1]:
            raise ValueError(f"{both} cannot be compared: task.{rule} is {values[0]!r} and {values[1]!r}")
    ids = [{record.id for record in evaluation.records} for evaluation in (a, b)]
    if alone := [(name, sorted(own)) for name, own in ((first.name, ids[0] - ids[1]), (other.name, ids[1] - ids[0])) if own]:
        told = "; ".join(f"{len(own):,} are of {name} alone, such as {', '.join(own[:3])}" for name, own in alone)
        raise RecordError(f"{both} were not scored on the same records of {a.split}: {told}")
    if len(a.records) != len(b.records):
        raise RecordError(f"{both} were not scored on the same records of {a.split}: {len(a.records):,} and {len(b.records):,}")
    for number, (one, two) in enumerate(zip(a.records, b.records, strict=True)):
        where = f"{both}: record {number} of {a.split}"
        if one.id != two.id:
            raise RecordError(f"{where} is {one.id} and {two.id}: the same records in another order")
        if one.words != two.words or comparison_counts.gold(a.kind, one) != comparison_counts.gold(b.kind, two):
            raise RecordError(f"{where}, {one.id}, has other words or another annotation in one than in the other")


def _prediction(kind: str, line: Mapping[str, Any]) -> Any:
    """Of a line of predictions.jsonl what was predicted."""
    found = {name: value for name, value in line.items() if name not in ("id", "gold")}
    return found if kind == "relation" else next(iter(found.values()))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
