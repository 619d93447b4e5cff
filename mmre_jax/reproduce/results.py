"""The numbers of a table: the paper's beside ours, mean and deviation over seeds, and whether a difference is more than chance."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmre_jax.analysis import significance
from mmre_jax.reproduce import execute, scores
from mmre_jax.reproduce.plan import Planned, not_run
from mmre_jax.reproduce.scores import Result
from mmre_jax.reproduce.table import Column, Entry, Row
from mmre_jax.training.log import read_json

RESAMPLES, SEED = 10_000, 0  # of the bootstrap


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number of a row, in the unit of its column.

    published, deviation: the paper's.  values: ours, one a seed.
    """

    column: Column
    published: float | None
    deviation: float | None
    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Over seeds; None where nothing was run."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation over seeds; None of fewer than two."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's; None where one of them is not there."""
        return None if self.mean is None or self.published is None else self.mean - self.published


@dataclasses.dataclass(frozen=True)
class Difference:
    """A row's score minus the reference's, both means over the seeds that both have, in percent, with its 95 % interval, and the two-sided
    p value, as it is and adjusted for the rows of the table (Holm). seeds: that both have; partial: whether one of them has others, too, so
    that the means of the table have another difference."""

    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    seeds: tuple[int, ...] = ()
    partial: bool = False


@dataclasses.dataclass(frozen=True)
class Line:
    """A row as it came out.

    protocol: by which its first run was scored (training/protocol.py), and how many pictures it had where some were not at hand.
    cells: one a column.  runs: what was planned of it.  done: of these the scored ones.  why_not: of a row that is not run, or cannot be
    yet.  failed: what its runs failed of.  test: see Difference; None of the reference, and `untested` says why of another.
    """

    row: Row
    cells: tuple[Cell, ...]
    runs: tuple[Planned, ...]
    done: tuple[Planned, ...]
    why_not: str = ""
    failed: str = ""
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    test: Difference | None = None
    untested: str = ""


def gather(entry: Entry, planned: Sequence[Planned], workdir: pathlib.Path, scale: str, parts: execute.Parts) -> list[Line]:
    """Every row of an entry, run or not.

    Args:
      planned: of the entry at that scale (plan.plan).
      workdir: where its runs are.
      parts: see execute.Parts.
    """
    left_out = not_run(entry, scale)
    failed = execute.failures(planned, workdir, parts)
    lines, found = [], dict[str, dict[int, Result]]()
    for row in entry.rows:
        own = tuple(each for each in planned if each.row is row)
        read = [(each, scores.read(execute.place(each, workdir))) for each in own if each.config is not None]
        results = [(each, result) for each, result in read if result is not None]
        found[row.label] = {each.seed: result for each, result in results}
        why_not = "" if own and all(each.config is not None for each in own) else (own[0].lacking if own else left_out.get(row.label, ""))
        names = {name for each in own if each.config is not None for name in (each.name, *execute.trainings(each, parts))}
        why_failed = next((why for name, why in failed.items() if name.partition("/")[0] in names), "")
        cells = tuple(_cell(row, column, [result for _, result in results]) for column in entry.columns)
        about = {**results[0][1].protocol, **_pictures(workdir / execute.RUNS / results[0][0].name)} if results else {}
        lines.append(Line(row, cells, own, tuple(each for each, _ in results), why_not, why_failed, about))
    return _tested(entry, lines, found)


def _pictures(run: pathlib.Path) -> dict[str, str]:
    """How many pictures a run had (data/picture_report.py), where some were not at hand."""
    seen = (read_json(run / "metrics.json") or {}).get("pictures")
    if seen is None:
        return {}
    found = {"photos": f"of {seen['records_with_photo']:,} of {seen['records']:,} records"}
    found = {} if seen["records_with_photo"] == seen["records"] else found
    there, wanted = (seen["crops"][name] for name in ("present", "referenced"))
    return found if there == wanted else {**found, "crops at hand": f"{there:,} of {wanted:,}"}


def _cell(row: Row, column: Column, results: Sequence[Result]) -> Cell:
    factor = 100.0 if column.unit == "percent" else 1.0
    values = tuple(factor * value for result in results if (value := result.at(column.metric)) is not None)
    return Cell(column, row.published.get(column.name), row.deviation.get(column.name), values)


def _tested(entry: Entry, lines: list[Line], found: Mapping[str, Mapping[int, Result]]) -> list[Line]:
    reference = next((line for line in lines if line.row is entry.reference_row), None)
    if reference is None or not (first := found[reference.row.label]):
        return lines
    results, tests = [], {}
    for line in lines:
        if line is not reference and (own := found[line.row.label]):
            test = compare(own, first, entry.main.metric)
            if isinstance(test, str):
                line = dataclasses.replace(line, untested=test)
            else:
                tests[line.row.label] = test
        results.append(line)
    adjusted = dict(zip(tests, significance.holm([test.p for test in tests.values()]), strict=True))
    return [
        dataclasses.replace(line, test=dataclasses.replace(tests[key], p_holm=adjusted[key])) if (key := line.row.label) in tests else line
        for line in results
    ]


def compare(own: Mapping[int, Result], reference: Mapping[int, Result], metric: str) -> Difference | str:
    """A row against the reference by the paired bootstrap over records, all seeds of a record drawn together; or why it cannot be done.

    Args:
      own, reference: {seed: result}.  metric: one that is F1 of sums over records (analysis/comparison_counts.py).
    """
    seeds = [seed for seed in own if seed in reference]
    if not seeds:
        return "no seed in common with the reference"
    sides = [[each[seed] for seed in seeds] for each in (own, reference)]
    if any(metric not in result.measures for side in sides for result in side):
        return f"{metric} is no function of sums over records"
    if any(result.ids != sides[0][0].ids for side in sides for result in side):
        return "scored on other records than the reference"
    counts = [np.stack([result.counts[:, result.measures.index(metric)] for result in side], axis=1) for side in sides]
    totals = [float(significance.f1(each.sum(axis=0)).mean()) for each in counts]  # records, seeds, 3
    drawn = significance.resampled_f1(np.stack(counts, axis=1), RESAMPLES, SEED).mean(axis=-1)  # resamples, sides
    differences = drawn[:, 0] - drawn[:, 1]
    low, high = (100 * float(end) for end in significance.interval(differences))
    p = significance.p_value(differences)
    return Difference(100 * (totals[0] - totals[1]), low, high, p, p, tuple(seeds), partial=own.keys() != reference.keys())
