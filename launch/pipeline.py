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

import dataclasses
import pathlib
from collections.abc import Mapping

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from configs import pipeline as parts
from launch import console
from mmre_jax import pipelines, storage
from mmre_jax.analysis.evaluation import Evaluation, scoring_task
from mmre_jax.analysis.reliability import Reliability
from mmre_jax.data import datasets
from mmre_jax.tasks import events
from mmre_jax.tasks import task as task_lib
from mmre_jax.training import processes
from mmre_jax.training.checks import check_settings
from mmre_jax.training.locate import locate
from mmre_jax.training.protocol import protocol
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
    evaluation = _score(config, runs, _SPLIT.value)
    written = evaluation.write(workdir) if processes.is_first() else []
    print(evaluation.text())
    logger.info("%s: %s", evaluation.split, task_lib.as_line(evaluation.headline()))
    logger.info("written: %s", ", ".join(map(str, written)))


def _score(config: ConfigDict, runs: Mapping[str, pathlib.Path], split: str) -> Evaluation:
    limits = {"least": _LEAST.value, "merge_iou": config.task.merge_iou}
    pipeline = pipelines.load(runs["tagger"], runs["detector"], runs["classifier"], **limits, devices=0)
    train, records = (datasets.open_records(config.data, name) for name in ("train", split))
    labels, none = datasets.labels(config.data, "triples", train)
    pipeline.check_labels(labels)
    # Its triples are as many as it finds: the number of QEOT's queries is no limit.
    task = dataclasses.replace(scoring_task(config, labels, none), queries=None)
    examples = task.examples(records)
    extracted = pipeline.extract_records(examples, split)
    found = [extraction.found for extraction in extracted]
    seen = frozenset(record.id for record, each in zip(examples, extracted, strict=True) if record.image is not None and not each.masked)
    used = {part: {"run": str(run), "step": getattr(pipeline, part).step} for part, run in runs.items()}
    about = {**protocol(config), "pipeline": used, "least_score": _LEAST.value}
    scored = events.events(task, examples, found)
    reliability = None if scored is None else Reliability(split, scored)
    return Evaluation(split, "triples", task, examples, found, seen, frozenset(), about, reliability=reliability)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    console.run(main, together=True, cached=True)
