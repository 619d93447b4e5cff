"""Trains a system and the controls that say what it owes to which modality, and prints them side by side.

    python -m launch.controls --config=configs/hvformer.py:quickstart --workdir=runs/controls [--runs=full,text,image,shuffled]

full: the configuration as it is.  text: without an image encoder.  image: words blanked, marker positions fixed.
shuffled: the full model, tested with other records' pictures.  Every run resumes where it was stopped; the table also goes to
controls.json in the workdir.
"""

from __future__ import annotations

import pathlib
import sys
import time
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from launch import console
from mmre_jax import extract
from mmre_jax.analysis import report
from mmre_jax.data import datasets
from mmre_jax.training import loop
from mmre_jax.training.evaluate import headline, make_split
from mmre_jax.training.log import write_json

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/SYSTEM.py:VARIANT", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder with one run's folder per control.")
_RUNS = flags.DEFINE_list("runs", ["full", "text", "image", "shuffled"], "Which, in this order; shuffled needs full.")

CHANGES: dict[str, dict[str, Any]] = {
    "full": {},
    "text": {"system.modalities": "text"},
    "image": {"data.blank_words": True},
}


def main(argv: list[str]) -> None:
    """Runs, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    if unknown := set(_RUNS.value) - {*CHANGES, "shuffled"}:
        raise app.UsageError(f"--runs knows full, text, image and shuffled, not {', '.join(sorted(unknown))}")
    logger = console.setup()
    workdir = pathlib.Path(_WORKDIR.value)
    rows = []
    with console.user_errors():
        for name in _RUNS.value:
            began = time.perf_counter()
            logger.info("---- %s", name)
            try:
                test = (
                    _shuffled(workdir)
                    if name == "shuffled"
                    else loop.train(console.changed(_CONFIG.value, CHANGES[name]), workdir / name)["test"]
                )
            except loop.Interrupted as stop:
                logger.info("%s", stop)
                sys.exit(3)
            row = {"run": name, **test["micro"], "accuracy": test["accuracy"], "minutes": (time.perf_counter() - began) / 60}
            logger.info("%s: %s", name, headline(test))
            rows.append(row)
    print(report.table(rows, list(rows[0])))
    write_json(workdir / "controls.json", rows)


def _shuffled(workdir: pathlib.Path) -> dict[str, Any]:
    extractor = extract.load(workdir / "full", devices=0)
    split = make_split(extractor.job, datasets.open_records(extractor.job.config.data, "test"), shuffled=True)
    return extractor.predictor.score(extractor.variables, split, "test")


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
