"""Trains a system.

    python -m launch.train --config=configs/hvformer.py:quickstart --workdir=runs/quickstart [--config.optim.lr=1e-3 ...]

Every value of the configuration is a flag; the same command goes on with a run that was stopped. Ends with
metrics.json and curves.png in the workdir.
"""

from __future__ import annotations

import pathlib
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from launch import console
from mmre_jax import storage
from mmre_jax.training.log import read_rows, write_json
from mmre_jax.training.train import summarise, train

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run, on a disk or in a bucket (s3://, gs://): checkpoints, metrics.jsonl, metrics.json, tensorboard."
)


def main() -> None:
    """Runs the configuration once, or once per seed of train.seeds."""
    logger = console.setup()
    config, workdir = _CONFIG.value, storage.path(_WORKDIR.value)
    if not config.train.seeds:
        _train(config, workdir)
        return
    runs = [_train(console.changed(config, {"train.seed": s, "train.seeds": ()}), workdir / f"seed_{s}") for s in config.train.seeds]
    summary = summarise(runs)
    write_json(workdir / "metrics.json", summary)
    for name, value in summary["test"].items():
        logger.info("test %s over seeds %s: %.4f +- %.4f", name, summary["seeds"], value["mean"], value["std"])


def _train(config: ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
    metrics = train(config, workdir)
    if jax.process_index() == 0:
        from mmre_jax.analysis import plots  # slow to import: it loads matplotlib

        plots.save(plots.curves(read_rows(workdir), f"val.{next(iter(metrics['headline']))}"), workdir / "curves.png")
    return metrics


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    console.run(main, together=True)
