"""The report of a table or a figure: as Markdown, CSV and JSON (the HTML page: reproduce/page.py)."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmre_jax.encoders.from_config import VECTORS
from mmre_jax.reproduce.plan import Planned
from mmre_jax.reproduce.results import RESAMPLES, Cell, Difference, Line
from mmre_jax.reproduce.table import Entry, Run
from mmre_jax.training.protocol import versions

WARNINGS = {
    "small": "Scale small: the embedded data set, small encoders from random weights, minutes of training. These numbers compare with "
    "nothing in the paper, and with each other only as far as so small a task tells systems apart.",
    "minilm": "Scale minilm: the published data, but small encoders, and little training. These numbers compare with each other, not with "
    "the paper's.",
    "paper": "",
}
_OF_ONE_RUN = ("task", "precision", "step", "warning", "pipeline", "least_score", "predictions")  # of a protocol
FIELDS = (
    *("entry", "scale", "group", "row", "column", "unit", "paper", "paper_deviation", "ours", "ours_deviation", "seeds", "difference"),
    *("against_reference", "low", "high", "p", "p_holm", "seeds_compared", "protocol", "status"),
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What is told of an entry.

    seeds: that were asked for.  lines: its rows.  pictures: files that stand beside the report.
    commands: {row's label: what a person types to make its runs}.  call: what makes the whole report.
    undrawn: {figure: why} of those that could not be drawn.
    """

    entry: Entry
    scale: str
    seeds: tuple[int, ...]
    lines: Sequence[Line]
    pictures: Sequence[pathlib.Path]
    commands: Mapping[str, Sequence[str]]
    call: str
    undrawn: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def head(self) -> str:
        """The title, with the paper's number of the table or figure."""
        return f"{self.entry.name}: {self.entry.title}"

    @property
    def warning(self) -> str:
        """What to know before the numbers, '' where there is nothing."""
        return "" if self.entry.is_drawing else WARNINGS[self.scale]

    def about(self) -> list[str]:
        """What stands in front of the table, a sentence or more each."""
        if self.entry.is_drawing:
            return ["A drawing: there is nothing to compute."]
        whose = "Protocol" if self.entry.paper == "ours" else "In the paper"
        found = [f"{whose}: {self.entry.protocol}"] if self.entry.protocol else []
        found += [f"Here: scale {self.scale}, seeds {', '.join(map(str, self.seeds))}; mean and sample deviation over seeds."]
        if self.entry.reference:
            found.append(
                f"Against {self.entry.reference}: the difference of {self.entry.main.name}, with its 95 % interval and two-sided p value "
                f"by the paired bootstrap over test records ({RESAMPLES:,} resamples, the seeds that both have drawn together); p (Holm) "
                "is adjusted for the rows. What another seed would change only the deviation tells."
            )
        warnings = dict.fromkeys(str(line.protocol["warning"]) for line in self.lines if "warning" in line.protocol)
        lacking = dict.fromkeys(run.note for line in self.lines if isinstance(run := line.row.runs.get(self.scale), Run) and run.note)
        random = dict.fromkeys(line.row.name for line in self.lines if any(map(_has_random_vectors, line.runs)))
        vectors = [f"Random word vectors, no file of vectors being given: {', '.join(random)}."] if random else []
        drawn = [f"{line.row.name} is {line.done[0].name}" for line in self.lines if line.done] if self.entry.figures else []
        runs = [f"In the figures runs are called by their folders: {', '.join(drawn)}."] if len(drawn) > 1 else []
        undrawn = [f"Not drawn: {name}: {why}" for name, why in self.undrawn.items()]
        return [*found, *self.entry.notes, *lacking, *vectors, *warnings, *runs, *undrawn]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """(heads, rows) of what people read."""
        printed = [any(line.cells[place].published is not None for line in self.lines) for place in range(len(self.entry.columns))]
        sides = [("paper", "ours") if there else ("ours",) for there in printed]
        heads = ["row", *(f"{column.name}, {side}" for column, own in zip(self.entry.columns, sides, strict=True) for side in own)]
        compared = self.scale != "small" and printed[self._main]
        tested = any(line.test or line.untested for line in self.lines)
        heads += [f"{self.entry.main.name}: ours - paper"] if compared else []
        heads += [f"{self.entry.main.name} against {self.entry.reference}", "p", "p (Holm)"] if tested else []
        heads += ["scored on", "state"]
        rows = []
        for line in self.lines:
            shown = ({"paper": published(cell), "ours": ours(cell)} for cell in line.cells)
            row = [line.row.label, *(cell[side] for cell, own in zip(shown, sides, strict=True) for side in own)]
            main = line.cells[self._main]
            row += [_signed(main.difference)] if compared else []
            row += _tested(line) if tested else []
            rows.append([*row, protocol(line), state(line)])
        return heads, rows

    @property
    def _main(self) -> int:
        return self.entry.columns.index(self.entry.main)

    def markdown(self) -> str:
        """The report as a page of Markdown."""
        parts = [f"# {_md(self.head)}"]
        parts += [f"**{self.warning}**"] if self.warning else []
        parts += [_md(text) for text in self.about()]
        if not self.entry.is_drawing:
            heads, rows = self.table()
            marks = ["| " + " | ".join(map(_md, cells)) + " |" for cells in (heads, *rows)]
            parts.append("\n".join([marks[0], "| " + " | ".join("---" for _ in heads) + " |", *marks[1:]]))
            parts += [f"![{path.stem}]({path.name})" for path in self.pictures]
            parts += ["## Commands", f"All of it:\n\n    {self.call}"]
            parts += [f"{_md(row)}:\n\n" + "\n".join(f"    {line}" for line in lines) for row, lines in self.commands.items() if lines]
            parts.append(f"Versions: {', '.join(f'{name} {version}' for name, version in versions().items())}.")
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """A line a row and column."""
        out = io.StringIO()
        writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._records())
        return out.getvalue()

    def _records(self) -> list[dict[str, Any]]:
        found = []
        for line in self.lines:
            for cell in line.cells:
                test = line.test if cell.column == self.entry.main else None
                found.append(
                    {
                        "entry": self.entry.name,
                        "scale": self.scale,
                        "group": line.row.group,
                        "row": line.row.name,
                        "column": cell.column.name,
                        "unit": cell.column.unit,
                        "paper": cell.published,
                        "paper_deviation": cell.deviation,
                        "ours": cell.mean,
                        "ours_deviation": cell.std,
                        "seeds": len(cell.values),
                        "difference": cell.difference if self.scale != "small" else None,
                        **({} if test is None else {"against_reference": test.difference, "low": test.low, "high": test.high}),
                        **({} if test is None else {"p": test.p, "p_holm": test.p_holm, "seeds_compared": len(test.seeds)}),
                        "protocol": protocol(line),
                        "status": state(line),
                    }
                )
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "entry": self.entry.name,
            "title": self.entry.title,
            "kind": self.entry.kind,
            "scale": self.scale,
            "seeds": list(self.seeds),
            "warning": self.warning,
            "about": self.about(),
            "reference": self.entry.reference,
            "rows": [
                {
                    "name": line.row.name,
                    "group": line.row.group,
                    "x": line.row.x,
                    "state": state(line),
                    "protocol": dict(line.protocol),
                    "columns": {
                        cell.column.name: {"paper": cell.published, "paper_deviation": cell.deviation, "values": list(cell.values)}
                        | {"mean": cell.mean, "deviation": cell.std, "unit": cell.column.unit, "metric": cell.column.metric}
                        for cell in line.cells
                    },
                    "test": None if line.test is None else dataclasses.asdict(line.test),
                    "untested": line.untested,
                    "runs": [{"seed": each.seed, "folder": each.name, "score": each.score} for each in line.done],
                    "commands": list(self.commands.get(line.row.label, ())),
                }
                for line in self.lines
            ],
            "pictures": [path.name for path in self.pictures],
            "undrawn": dict(self.undrawn),
            "command": self.call,
            "versions": versions(),
        }


def _has_random_vectors(planned: Planned) -> bool:
    text = None if planned.config is None else planned.config.text
    return text is not None and text.get("kind") == VECTORS and not text.vectors


def state(line: Line) -> str:
    """What became of a row."""
    if line.why_not:
        return f"not run: {line.why_not}"
    if len(line.done) == len(line.runs):
        return "done" if not line.untested else f"done; not tested: {line.untested}"
    told = f"failed: {line.failed}" if line.failed else "not run yet"
    return told if not line.done else f"{len(line.done)} of {len(line.runs)} seeds; {told}"


def protocol(line: Line) -> str:
    """What a row was scored on: its data, crops, and what was done to either."""
    told = {name: value for name, value in line.protocol.items() if name not in _OF_ONE_RUN}
    shown = [f"{name} {value}" for name, value in told.items() if name not in ("data", "objects") and (name, value) != ("pictures", "own")]
    return ", ".join([str(told["data"]), f"crops: {told['objects']}", *shown]) if told else "-"


def published(cell: Cell) -> str:
    """The paper's number as printed, with its deviation."""
    if cell.published is None:
        return "-"
    told = (
        f"{cell.published:,}"
        if isinstance(cell.published, int)
        else f"{cell.published:.2f}"
        if cell.column.unit == "percent"
        else f"{cell.published:g}"
    )
    return told if cell.deviation is None else f"{told} ± {cell.deviation:.2f}"


def ours(cell: Cell) -> str:
    """The mean with its deviation."""
    if cell.mean is None:
        return "-"
    whole = cell.column.unit == "number" and all(float(value).is_integer() for value in cell.values)
    told = f"{cell.mean:,.0f}" if whole else f"{cell.mean:.2f}" if cell.column.unit == "percent" else f"{cell.mean:.4g}"
    return told if cell.std is None else f"{told} ± {cell.std:.2f}"


def _tested(line: Line) -> list[str]:
    if line.test is None:
        return ["-", "-", "-"]
    return [against(line.test), _p(line.test.p), _p(line.test.p_holm)]


def against(test: Difference) -> str:
    """A difference with its interval, and the seeds that it is of where the means have others, too."""
    of = f" (seed{'s' * (len(test.seeds) > 1)} {', '.join(map(str, test.seeds))} alone)" if test.partial else ""
    return f"{_signed(test.difference)} [{_signed(test.low)}, {_signed(test.high)}]{of}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"


def _md(text: str) -> str:
    """Text in a cell or a paragraph of Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_|<>[]#" else c for c in " ".join(text.split()))
