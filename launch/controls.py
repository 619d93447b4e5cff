"""Trains a system and the controls that say what it owes to which modality, and prints them side by side.

    python -m launch.controls --config=configs/hvformer.py:quickstart --workdir=runs/controls [--runs=full,text,image,shuffled]

full: the configuration as it is.  text: without an image encoder (system.modalities=text).
image (relations only): words blanked, marker positions fixed.  shuffled: the full model, tested with other records' pictures.  Every run
resumes where it was stopped; the table also goes to controls.json in the workdir.
"""

from __future__ import annotations

import pathlib
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from launch import console
from mmre_jax import extract, storage
from mmre_jax.analysis import report
from mmre_jax.data import datasets
from mmre_jax.tasks import task as task_lib
from mmre_jax.training.checks import check_settings
from mmre_jax.training.log import write_json
from mmre_jax.training.splits import make_split
from mmre_jax.training.train import train

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder with one run's folder per control.")
_RUNS = flags.DEFINE_list("runs", [], "Which, in this order; shuffled needs full. All if not given.")


def main() -> None:
    """Runs, prints, writes."""
    changes = controls(_CONFIG.value)
    names = _RUNS.value or [*changes, "shuffled"]
    if unknown := set(names) - {*changes, "shuffled"}:
        raise app.UsageError(f"--runs knows {', '.join(changes)} and shuffled for this task, not {', '.join(sorted(unknown))}")
    logger = console.setup()
    workdir = storage.path(_WORKDIR.value)
    rows = []
    runs = {name: console.changed(_CONFIG.value, changes[name]) for name in names if name != "shuffled"}
    for config in runs.values():  # all of them, before the first is trained
        check_settings(config)
    for name in names:
        logger.info("---- %s", name)
        if name == "shuffled":
            scores, minutes = _shuffled(workdir), None
        else:
            metrics = train(runs[name], workdir / name)
            scores, minutes = metrics["headline"], metrics["minutes"]
        row = {"run": name, **scores, "minutes": minutes}
        logger.info("%s: %s", name, task_lib.as_line(scores))
        rows.append(row)
    print(report.table(rows, list(rows[0])))
    write_json(workdir / "controls.json", rows)


def controls(config: ConfigDict) -> dict[str, dict[str, Any]]:
    """What each run that is trained changes in the configuration."""
    image = {"image": {"data.blank_words": True}} if config.task.name == "relation" else {}
    return {"full": {}, "text": {"system.modalities": "text"}, **image}


def _shuffled(workdir: pathlib.Path) -> dict[str, float]:
    extractor = extract.load(workdir / "full", devices=0)
    split = make_split(extractor.job, datasets.open_records(extractor.job.config.data, "test"), shuffled=True)
    return task_lib.headline(extractor.job.task, extractor.predictor.score(extractor.variables, split, "test"))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    console.run(main, together=True)
