"""Figures of one checkpoint, drawn by mmre_jax.analysis, of the runs that an entry names."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from mmre_jax import analyse, evaluate, storage
from mmre_jax.analysis import frequency, gallery, plots, report
from mmre_jax.analysis.figures import FIGURES
from mmre_jax.reproduce import execute
from mmre_jax.reproduce.plan import Planned
from mmre_jax.reproduce.table import Entry
from mmre_jax.training.log import read_json, write_json

DRAWN = "drawn.json"  # of what the pictures were drawn

logger = logging.getLogger(__name__)


def draw(entry: Entry, done: Sequence[Planned], workdir: pathlib.Path, out: pathlib.Path) -> tuple[list[pathlib.Path], dict[str, str]]:
    """The pictures of an entry's figures; those that were drawn of the same runs before are left as they are.

    Args:
      done: a finished run of each row of the entry that has one, in their order: the first is looked at, the others stand beside it where
        a figure compares.

    Returns:
      The pictures' files below `out`, and {figure: why} of those that could not be drawn, which are tried again next time.
    """
    runs = list(dict.fromkeys(each.name for each in done if each.run.how in ("trained", "shuffled")))
    if not entry.figures or not runs:
        return [], {}
    about = {"figures": list(entry.figures), "runs": runs, "split": entry.split}
    if (found := _found(out)) is not None and found["about"] == about:
        return [out / name for name in found["files"]], {}
    storage.make_folder(out)
    written, failed = list[pathlib.Path](), dict[str, str]()
    for name in entry.figures:
        logger.info("%s: drawing %s", entry.name, name)
        try:
            written += _drawn(name, [workdir / execute.RUNS / run for run in runs], entry.split, out)
        except Exception as error:  # whatever it is, the other figures and the report are not to be lost with it
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            logger.error("%s: %s failed: %s", entry.name, name, failed[name])
    if not failed:
        write_json(out / DRAWN, {"about": about, "files": [path.name for path in written]})
    return written, failed


def _drawn(name: str, runs: Sequence[pathlib.Path], split: str, out: pathlib.Path) -> list[pathlib.Path]:
    """The pictures of one figure."""
    if name == gallery.COUNTED:
        return [_by_training_count(run, out) for run in runs]
    looked = analyse.view(runs[0], split, beside=runs[1:] if FIGURES[name].compares else ())
    return [path for path in analyse.write(analyse.draw(looked, name), name, out) if path.suffix == ".png"]


def is_drawn(entry: Entry, out: pathlib.Path) -> bool:
    """Whether an entry's figures are there, or it has none."""
    return not entry.figures or _found(out) is not None


def _found(out: pathlib.Path) -> dict[str, Any] | None:
    """What was drawn in a folder, and of what; None where nothing was, or not all of it is there any more."""
    try:
        found = read_json(out / DRAWN)
    except ValueError:  # damaged: it is drawn anew
        return None
    if not isinstance(found, dict) or not {"about", "files"} <= found.keys():
        return None
    return found if all((out / name).is_file() for name in found["files"]) else None


def _by_training_count(run: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    """Scores by how often training had a relation."""
    found = evaluate.checkpoint(run, "test")
    path = out / f"{gallery.COUNTED}_{run.name}.png"
    counts = report.confusion_counts(found.records, found.predicted, found.task.labels)
    plots.save(frequency.figure(counts, found.task.labels, found.task.none, found.trained), path)
    return path
