"""Trains a system.

    python -m launch.train --config=configs/hvformer.py:quickstart --workdir=runs/quickstart [--config.optim.lr=1e-3 ...]

Every value of the configuration is a flag; the same command goes on with a run that was stopped. Ends with metrics.json in the workdir.
"""

from __future__ import annotations

import pathlib

from absl import app, flags
from ml_collections import config_flags

from launch import console
from mmre_jax.training import loop

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/SYSTEM.py:VARIANT", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, metrics.jsonl, metrics.json, tensorboard.")


def main(argv: list[str]) -> None:
    """Runs the configuration once, or once per seed of train.seeds."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    logger = console.setup()
    config, workdir = _CONFIG.value, pathlib.Path(_WORKDIR.value)
    with console.user_errors():
        if not config.train.seeds:
            loop.train(config, workdir)
        else:
            runs = [
                loop.train(console.changed(config, {"train.seed": s, "train.seeds": ()}), workdir / f"seed_{s}") for s in config.train.seeds
            ]
            summary = loop.summarise(runs)
            loop.write_json(workdir / "metrics.json", summary)
            for name, value in summary["test"].items():
                logger.info("test %s over seeds %s: %.4f +- %.4f", name, summary["seeds"], value["mean"], value["std"])


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
