"""The files of an entry: report.md, report.csv, report.html, report.json and its pictures; and how far each entry is."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from mmre_jax import storage
from mmre_jax.analysis import plots as plots_lib
from mmre_jax.reproduce import commands, execute, figures, page, plots, results, scores
from mmre_jax.reproduce.plan import TRAINED, Asked, Load, Planned
from mmre_jax.reproduce.report import Report
from mmre_jax.reproduce.table import Entry
from mmre_jax.training.log import write_json, write_text

REPORTS = "reports"


@dataclasses.dataclass(frozen=True)
class State:
    """How far an entry is.

    word: drawing | done | partly | never.  runs: to be trained for it.  left: of these.  places: that its rows need, and nobody named.
    wrong: what else keeps rows from being run.
    """

    word: str
    runs: int
    left: int
    places: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    def told(self) -> str:
        """For people."""
        if self.word == "drawing":
            return "drawing, nothing to compute"
        trained = f", {self.runs - self.left} of {self.runs} runs" if self.runs else ", nothing to train"
        needs = f"; needs {', '.join(self.places)}" if self.places else ""
        return f"{self.word}{trained}{needs}{''.join(f'; {each}' for each in self.wrong)}"


def state(entry: Entry, planned: Sequence[Planned], workdir: pathlib.Path, scale: str, parts: execute.Parts) -> State:
    """How far an entry is, in a workdir.

    Args:
      planned: of the entry (plan.plan).
    """
    if entry.is_drawing:
        return State("drawing", 0, 0)
    there = [each for each in planned if each.config is not None]
    runs = {name for each in there for name in execute.trainings(each, parts)}
    left = {name for name in runs if not execute.is_trained(workdir / execute.RUNS / name)}
    cannot = [each for each in planned if each.config is None]
    waiting = {each.name for each in cannot if each.run.how in TRAINED}
    scored = [scores.is_kept(execute.place(each, workdir)) for each in there]
    places = tuple(sorted({place for each in cannot for place in each.places}))
    wrong = tuple(dict.fromkeys(each.lacking for each in cannot if not each.places))
    if all(scored) and figures.is_drawn(entry, folder(entry, workdir, scale)) and not cannot:
        word = "done"
    else:
        word = "partly" if any(scored) or len(left) < len(runs) else "never"
    return State(word, len(runs | waiting), len(left | waiting), places, wrong)


def folder(entry: Entry, workdir: pathlib.Path, scale: str) -> pathlib.Path:
    """Where the report of an entry is."""
    return workdir / REPORTS / scale / entry.name


def write(
    entry: Entry, planned: Sequence[Planned], asked: Asked, workdir: pathlib.Path, load: Load, parts: execute.Parts, call: str
) -> tuple[list[pathlib.Path], dict[str, str]]:
    """Draws what is to be drawn, and writes the reports of an entry, whatever of it is done.

    Args:
      planned: of the entry (plan.plan).
      call: the command that makes it.

    Returns:
      The reports, then the pictures; and {figure: why} of those that could not be drawn.
    """
    out = folder(entry, workdir, asked.scale)
    storage.make_folder(out)
    lines = results.gather(entry, planned, workdir, asked.scale, parts)
    looked = [line.done[0] for line in lines if line.done] if lines and lines[0].done else []  # the first row is what a figure is of
    pictures, failed = figures.draw(entry, looked, workdir, out)
    if entry.rows and (drawn := plots.picture(entry, lines, with_paper=asked.scale != "small")) is not None:
        pictures = [*pictures, out / "rows.png"]
        plots_lib.save(drawn, pictures[-1])
    else:
        storage.path(out / "rows.png").unlink(missing_ok=True)  # of an earlier call
    typed: Mapping[str, list[str]] = {
        line.row.label: [command for each in line.runs for command in commands.of_row(each, workdir, load)] for line in lines
    }
    report = Report(entry, asked.scale, asked.seeds, lines, pictures, typed, call, failed)
    written = [out / f"report.{kind}" for kind in ("md", "csv", "html", "json")]
    write_text(written[0], report.markdown())
    write_text(written[1], report.csv())
    write_text(written[2], page.page(report))
    write_json(written[3], report.to_json())
    return [*written, *pictures], failed


def write_index(workdir: pathlib.Path, scale: str, rows: list[tuple[str, str, str]]) -> pathlib.Path:
    """A page that leads to all reports of a scale.

    Args:
      rows: (name, what it shows, its state) of each entry.
    """
    path = workdir / REPORTS / scale / "index.html"
    storage.make_folder(path.parent)
    write_text(path, page.index(f"Tables and figures, scale {scale}", rows))
    return path
