"""Scores a checkpoint, or any program's predictions, on a split.

    python -m launch.evaluate --checkpoint=runs/quickstart --split=test
    python -m launch.evaluate --predictions=FILE.jsonl --config=configs/hvformer.py:mnre --config.data.root=DIR --split=test

Prints a table per relation and per slice of the data, and writes metrics.json, predictions.jsonl and confusion.png into --out
(by default WORKDIR/evaluation/SPLIT; for predictions, a folder beside the file).

Predictions of any other program, a vision-language model's say, are JSON lines {"id": example, "relation": label, "score": number}, one
for each example of the split; the score may be left out. The predictions.jsonl of a checkpoint shows the ids.
"""

from __future__ import annotations

import copy
import pathlib

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from launch import console
from mmre_jax import extract
from mmre_jax.analysis import report
from mmre_jax.analysis.evaluation import Evaluation, outcome, read_predictions
from mmre_jax.data import datasets, pictures
from mmre_jax.data.readers import scenes
from mmre_jax.records import Record
from mmre_jax.tasks import relation
from mmre_jax.training.evaluate import headline, make_split
from mmre_jax.training.setup import protocol

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir (its best step is taken) or the directory of one step.")
_PREDICTIONS = flags.DEFINE_string("predictions", None, 'JSON lines {"id", "relation", "score"} to be scored instead of a checkpoint.')
_CONFIG = config_flags.DEFINE_config_file("config", None, "With --predictions: the configuration whose section `data` is scored against.")
_SPLIT = flags.DEFINE_enum("split", "test", datasets.SPLITS, "Which split.")
_ROOT = flags.DEFINE_string("root", None, "The data set's folder, where it is not where it was in training.")
_SHUFFLE = flags.DEFINE_bool("shuffle_pictures", False, "Show every record with another record's picture.")
_OUT = flags.DEFINE_string("out", None, "Folder for the results.")


def main(argv: list[str]) -> None:
    """Evaluates and prints."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    if (_CHECKPOINT.value is None) == (_PREDICTIONS.value is None):
        raise app.UsageError("give either --checkpoint or --predictions")
    if (_PREDICTIONS.value is None) != (_CONFIG.value is None):
        raise app.UsageError("--predictions needs --config, whose section `data` says what it is scored against; --checkpoint has its own")
    if _PREDICTIONS.value is not None and _SHUFFLE.value:
        raise app.UsageError("--shuffle_pictures needs --checkpoint")
    logger = console.setup()
    with console.user_errors():
        evaluation, out = _of_checkpoint() if _CHECKPOINT.value is not None else _of_predictions()
        print(evaluation.text())
        evaluation.write(out)
    logger.info("%s: %s", evaluation.split, headline(evaluation.scores()))
    if "warning" in evaluation.protocol:
        logger.warning(evaluation.protocol["warning"])
    logger.info("written: %s", ", ".join(str(out / name) for name in ("metrics.json", "predictions.jsonl", "confusion.png")))


def _of_checkpoint() -> tuple[Evaluation, pathlib.Path]:
    extractor = extract.load(_CHECKPOINT.value, devices=0)
    job = extractor.job
    data = _data(job.config)
    train = relation.examples(datasets.open_records(data, "train"))
    split = make_split(job, datasets.open_records(data, _SPLIT.value), shuffled=_SHUFFLE.value, data=data)
    predicted = extractor.predictor.predict(extractor.variables, split, _SPLIT.value)
    labels, pairs = job.task.labels, list(zip(split.records, predicted, strict=True))
    outcomes = [outcome(r, str(p.relations[0].label), p.relations[0].score or 0.0, labels) for r, p in pairs]
    seen = frozenset(r.id for r, p in pairs if p.seen)
    about = {**protocol(job.config), "pictures": "shuffled" if _SHUFFLE.value else "own", "step": extractor.step}
    directory, _ = extract.locate(_CHECKPOINT.value)
    out = (
        pathlib.Path(_OUT.value)
        if _OUT.value
        else directory.parent / "evaluation" / (_SPLIT.value + ("_shuffled" if _SHUFFLE.value else ""))
    )
    return Evaluation(_SPLIT.value, labels, job.task.none, outcomes, seen, report.entity_pairs(train), about), out


def _of_predictions() -> tuple[Evaluation, pathlib.Path]:
    data = _data(_CONFIG.value)
    train = datasets.open_records(data, "train")
    labels, none = datasets.relation_labels(data, train)
    examples = relation.examples(datasets.open_records(data, _SPLIT.value))
    outcomes = read_predictions(_PREDICTIONS.value, examples, labels)
    about = {**protocol(_CONFIG.value), "predictions": _PREDICTIONS.value}
    out = pathlib.Path(_OUT.value) if _OUT.value else pathlib.Path(_PREDICTIONS.value).with_suffix(f".{_SPLIT.value}")
    seen = frozenset(example.id for example in examples if _has_photo(example))  # what the other program looked at is not known
    return Evaluation(_SPLIT.value, labels, none, outcomes, seen, report.entity_pairs(relation.examples(train)), about), out


def _has_photo(record: Record) -> bool:
    if record.image is None or record.image.startswith(scenes.PREFIX):
        return record.image is not None
    try:
        pictures.probe(record.image)
    except pictures.PictureError:
        return False
    return True


def _data(config: ConfigDict) -> ConfigDict:
    data = ConfigDict(copy.deepcopy(config.data.to_dict()))
    if _ROOT.value:
        data.root = _ROOT.value
    return data


if __name__ == "__main__":
    app.run(main)
