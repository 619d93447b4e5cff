"""What a table or a figure of a paper is made of: its rows, the numbers that are printed there, and what is run for each row.

A table is data (mmre_jax/reproduce/tables), one Entry each, and reads like the table in the paper:

    Entry(
        "hvformer.table2",
        "HVFormer beside former systems, and without its parts",
        "MNRE, grounded crops beside the photo; three seeds",
        columns=PRF,
        tested="F1",
        rows=(
            not_run(PRF, "MEGA", (64.51, 68.44, 66.41), reasons.MEGA),
            row(PRF, "HVFormer", (84.14, 82.65, 83.39), HVFORMER),
            row(PRF, "w/o HVF", (82.58, 82.22, 82.40), HVFORMER, {"system.levels": (12,)}, small={"system.levels": (2,)}),
        ),
        reference="HVFormer",
    )

Numbers of a row stand in the order of the columns, as printed, None where the paper has none. A family (tables/families.py) names a file
of configs/ and its variant at each scale; changes are settings as flags name them. Nothing of configs/ is imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

# small: the embedded data set, minutes. minilm: the published data on a CPU, hours. paper: the paper's sizes.
SCALES = ("small", "minilm", "paper")
# trained: scored on test as training left it.  shuffled: the same run, scored with other records' pictures.
# pipeline: a tagger, a detector and a classifier (configs/pipeline.py).  metadata: a tree that is shown how many crops a record has, and
# nothing else.  counts: of the data set, nothing is trained.  settings: of the configuration.
HOW = ("trained", "shuffled", "pipeline", "metadata", "counts", "settings")
UNITS = ("percent", "number")


@dataclasses.dataclass(frozen=True)
class Column:
    """A score of a table.

    name: as the head of the column has it.  metric: where it stands in what a run is scored by (`Task.metrics`; of counts, settings and
    times see reproduce/scores.py), levels joined by dots.  unit: percent (of a share from 0 to 1) or number (as it is).
    """

    name: str
    metric: str
    unit: str = "percent"


@dataclasses.dataclass(frozen=True)
class Place:
    """A setting's value that only the user knows: the folder that --place=NAME=FOLDER gives, of weights or of a data set."""

    name: str


@dataclasses.dataclass(frozen=True)
class Run:
    """What is run for a row at one scale.

    config: FILE:VARIANT, as --config has it.  changes: {SECTION.NAME: value}, beside those of reproduce/sizes.py.
    how: one of HOW.
    scored_with: {SECTION.NAME: value} of sections task and data, with which the run's predictions are scored anew, where not empty.
    note: where it is not all that the row's name says, what it lacks.
    """

    config: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    how: str = "trained"
    scored_with: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(frozen=True)
class NotRun:
    """A row that nobody can run here, and why."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table, or a point of a figure's line.

    name: as printed.  published: {column: what the paper has, None where it has nothing}.  runs: {scale: what is run}.
    group: rows under one heading, such as 'Text', or the line of a figure that the row is a point of.
    x: where on a figure's axis the row stands; None in tables.
    deviation: {column: the paper's standard deviation over its runs}.
    """

    name: str
    published: Mapping[str, float | None]
    runs: Mapping[str, Run | NotRun]
    group: str = ""
    x: float | str | None = None
    deviation: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name with its group, where it does not begin with that: one of its own in the table."""
        return f"{self.group}: {self.name}" if self.group and not self.name.startswith(self.group) else self.name


@dataclasses.dataclass(frozen=True)
class Entry:
    """A table or a figure.

    name: PAPER.tableN or PAPER.figureN.  title: what it shows, in our words.  protocol: how the paper came to its numbers.
    columns: as printed.  tested: the column that is tested and drawn, '': the first.
    reference: the row that the others are tested against, '': none is.
    axis: of a figure of several runs what stands under its x axis; '': rows are drawn as bars.
    figures: of one checkpoint, the first row's, names of analysis.figures.FIGURES, or 'training_count'; rows behind the first stand
      beside it where the figure compares.  split: that such figures are drawn of.
    notes: what a reader is to know, such as numbers that our text of the paper lacks.
    An entry without rows is a drawing, of which nothing is computed.
    """

    name: str
    title: str
    protocol: str = ""
    columns: tuple[Column, ...] = ()
    tested: str = ""
    rows: tuple[Row, ...] = ()
    reference: str = ""
    axis: str = ""
    figures: tuple[str, ...] = ()
    split: str = "test"
    notes: tuple[str, ...] = ()

    @property
    def paper(self) -> str:
        """What stands in front of the dot."""
        return self.name.partition(".")[0]

    @property
    def kind(self) -> str:
        """table or figure."""
        return "figure" if self.name.partition(".")[2].startswith("figure") else "table"

    @property
    def main(self) -> Column:
        """The column that is tested and drawn."""
        return next((column for column in self.columns if column.name == self.tested), self.columns[0])

    @property
    def reference_row(self) -> Row | None:
        """The row that the others are tested against; None where nothing is tested."""
        return next((row for row in self.rows if self.reference and self.reference in (row.name, row.label)), None)

    @property
    def is_drawing(self) -> bool:
        """Whether nothing is computed."""
        return not self.rows


@dataclasses.dataclass(frozen=True)
class Family:
    """A system as it is run for one task: a file of configs/ and what it is at each scale.

    file: its name without ending.  variants: {scale: variant}; at a scale that is not among them its rows are left out.
    changes: {scale: settings}, beside the variant's, such as the weights of a paper's encoder.
    lacks: where it is not all that its name says, at the scales below paper, what it lacks.
    """

    file: str
    variants: Mapping[str, str]
    changes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    lacks: str = ""


def row(
    columns: Sequence[Column],
    name: str,
    published: Sequence[float | None],
    family: Family,
    changes: Mapping[str, Any] | None = None,
    *,
    small: Mapping[str, Any] | None = None,
    minilm: Mapping[str, Any] | None = None,
    paper: Mapping[str, Any] | None = None,
    how: str = "trained",
    scored_with: Mapping[str, Any] | None = None,
    group: str = "",
    x: float | str | None = None,
    without: Sequence[str] = (),
    deviation: Sequence[float] = (),
) -> Row:
    """A row that is run.

    Args:
      published: in the order of the columns; () where the paper's numbers are not at hand.
      changes: of all scales.  small, minilm, paper: of one scale, in place of those of all where both name a setting.
      how, scored_with, group, x: as of Run and Row.  deviation: in the order of the columns.
      without: scales at which the row is left out.

    Raises:
      ValueError: for numbers that are not as many as the columns.
    """
    own = {"small": small, "minilm": minilm, "paper": paper}
    runs: dict[str, Run | NotRun] = {
        scale: Run(
            f"configs/{family.file}.py:{variant}",
            {**family.changes.get(scale, {}), **(changes or {}), **(own[scale] or {})},
            how,
            scored_with or {},
            "" if scale == "paper" else family.lacks,
        )
        for scale, variant in family.variants.items()
        if scale not in without
    }
    names = [column.name for column in columns]
    deviations = dict(zip(names, deviation, strict=True)) if deviation else {}
    return Row(name, _by_column(columns, published, name), runs, group, x, deviations)


def not_run(columns: Sequence[Column], name: str, published: Sequence[float | None], reason: str, *, group: str = "") -> Row:
    """A row that nobody can run here, at no scale."""
    return Row(name, _by_column(columns, published, name), {scale: NotRun(reason) for scale in SCALES}, group)


def _by_column(columns: Sequence[Column], published: Sequence[float | None], name: str) -> dict[str, float | None]:
    if published and len(published) != len(columns):
        raise ValueError(f"row {name!r}: {len(columns)} columns need as many numbers, found {len(published)}")
    return dict(zip([column.name for column in columns], published or [None] * len(columns), strict=True))
