"""Trains and scores QEOT's baselines Pipeline-R50, -R101 and -RCNN: a tagger, a detector and a classifier of pairs, each trained by itself.

    python -m launch.pipeline --config=configs/qeot.py:quickstart --workdir=runs/pipeline
    python -m launch.pipeline --config=configs/qeot.py:quickstart_rcnn --workdir=runs/pipeline_rcnn

The configuration is that of the QEOT run which the pipeline is compared with: its data, encoders and training (configs/pipeline.py says
what each part makes of them), its measures. -R50, -R101 or -RCNN is a matter of --config.vision.kind, depths and weights.

The parts go to WORKDIR/tagger, /detector and /classifier; the same command goes on with a part that was stopped. With --tagger=RUN (or
--detector, --classifier) the part is taken from another run: the tagger of -R101 is that of -R50; any detector of objects will do, whatever
its classes. Regions that it scores below --least_score are not looked at. Prints what launch.evaluate prints, and
writes metrics.json and predictions.jsonl into the workdir. Pictures that cannot be read are masked, as in training.
"""

from __future__ import annotations

from absl import app, flags
from ml_collections import config_flags

from configs import pipeline as parts
from launch import console
from mmre_jax import pipelines, storage
from mmre_jax.data import datasets
from mmre_jax.tasks import task as task_lib
from mmre_jax.training import processes
from mmre_jax.training.checks import check_settings
from mmre_jax.training.locate import locate
from mmre_jax.training.train import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/qeot.py:VARIANT, whose task and data the parts are trained for.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder with a run's folder for each part, and the scores.")
_SPLIT = flags.DEFINE_enum("split", "test", datasets.SPLITS, "Which split is scored.")
_LEAST = flags.DEFINE_float("least_score", 0.5, "Lowest score of a region that is looked at.", 0.0, 1.0)
_RUNS = {part: flags.DEFINE_string(part, None, f"A trained {part}, instead of one in the workdir.") for part in parts.PARTS}


def main() -> None:
    """Trains what is missing, scores, prints, writes."""
    config, workdir = _CONFIG.value, storage.path(_WORKDIR.value)
    if config.task.name != "triples":
        raise app.UsageError(f"a pipeline finds triples: --config is a configuration of QEOT, found task.name={config.task.name!r}")
    if datasets.shows_blank(config.data):
        raise app.UsageError("data.missing='blank': a pipeline masks crops that are missing")
    logger = console.setup()
    runs = {part: storage.path(_RUNS[part].value or workdir / part) for part in parts.PARTS}
    missing = {part: settings for part, settings in parts.components(config).items() if _RUNS[part].value is None}
    for part in runs.keys() - missing.keys():
        locate(runs[part])
    for settings in missing.values():  # all of them, before the first is trained
        check_settings(settings)
    for part, settings in missing.items():
        logger.info("---- %s", part)
        train(settings, runs[part])
    evaluation = pipelines.evaluate(config, runs, _SPLIT.value, least=_LEAST.value, devices=0)
    written = evaluation.write(workdir) if processes.is_first() else []
    print(evaluation.text())
    logger.info("%s: %s", evaluation.split, task_lib.as_line(evaluation.headline()))
    logger.info("written: %s", ", ".join(map(str, written)))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    console.run(main, together=True, cached=True)
