"""Scores a checkpoint, or what any program predicted or answered, on a split of a data set: what launch.evaluate prints and writes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmre_jax import extract
from mmre_jax.analysis.evaluation import Evaluation, read_predictions, scoring_task
from mmre_jax.analysis.reliability import Reliability
from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet
from mmre_jax.data.sampling import is_shuffled
from mmre_jax.heads.joint import TOLD
from mmre_jax.prompts import answers as answers_lib
from mmre_jax.prompts import manifest, write
from mmre_jax.prompts.answers import Answers
from mmre_jax.records import Record
from mmre_jax.tasks import events
from mmre_jax.tasks import task as task_lib
from mmre_jax.tasks.events import Events
from mmre_jax.training import calibration, trained_on
from mmre_jax.training.checkpoint import FOLDER
from mmre_jax.training.evaluate import Predicted
from mmre_jax.training.features import with_features
from mmre_jax.training.lasting import lasting
from mmre_jax.training.other_data import check_labels, data_of, protocol_of
from mmre_jax.training.protocol import protocol
from mmre_jax.training.splits import Split, make_split, training_examples
from mmre_jax.training.trained_on import TrainedOn


def checkpoint(
    path: str | os.PathLike[str],
    split: str,
    *,
    root: str = "",
    captions: str = "",
    shuffle: bool = False,
    features: str = "",
    dataset: DataSet | None = None,
    changes: Mapping[str, Any] | None = None,
    precision: float | None = None,
) -> Evaluation:
    """A trained checkpoint's predictions of a split, on all local devices, scored.

    What slices and tables say of training is what the run has left of it (training/trained_on.py); the training split itself is read for
    one from before runs did. With `changes` the split is another data set's, and nothing is said of training.

    Args:
      path: a run's workdir (its best step is taken) or the directory of one step.
      split: train (of it what the run was trained on), val or test.
      root: the data set's folder, where it is not where it was in training.
      captions: the file of captions, where it is not where it was in training.
      shuffle: show every record with another record's picture, whatever data.shuffle_pictures says.
      features: instead of data.features, whether those of encoders that are not trained are kept: none or cache.
      dataset: a user's own, if the data set is not one of datasets.DATASETS.
      changes: settings of section `data`, those of other_data.SETTINGS, that name another data set than the checkpoint was trained on.
      precision: that a threshold is to be found for (analysis/reliability.py).

    Raises:
      CheckpointError: if there is no checkpoint, or it is of another format or version.
      SettingError: for a change that is none of the data set, or a value that the setting cannot have.
      ValueError: for labels that the checkpoint lacks, all of them named, and as `datasets.open_records`.
      RecordError: as `datasets.open_records`.
    """
    extractor = extract.load(path, devices=0)
    job, kind = extractor.job, extractor.task
    data = data_of(job.config, root, changes)
    data.captions, data.features = captions or data.captions, features or data.features
    shuffled = shuffle or is_shuffled(data, split)
    with lasting() as read_all:
        known = None if changes else _trained_on(extractor, data, dataset)
        read_all()
        shown, predicted = _predicted(extractor, data, split, shuffled, dataset, other=bool(changes))
    seen = frozenset(r.id for r, p in zip(shown.records, predicted, strict=True) if p.seen)
    about = {**protocol_of(job.config, data, changes), "pictures": "shuffled" if shuffled else "own", "step": extractor.step}
    found, outputs = [p.found for p in predicted], [p.outputs for p in predicted]
    raw = calibration.raw_events(job.task, shown.records, outputs, shown.encoded)
    return Evaluation(
        split,
        kind,
        job.task,
        shown.records,
        found,
        seen,
        known,
        about,
        outputs,
        shown.encoded,
        _reliability(split, raw, extractor.calibration, precision),
    )


def calibrate(
    path: str | os.PathLike[str],
    split: str = "val",
    *,
    root: str = "",
    captions: str = "",
    dataset: DataSet | None = None,
    changes: Mapping[str, Any] | None = None,
) -> tuple[pathlib.Path, Reliability]:
    """Fits the calibration of a checkpoint's scores on a split, and keeps it in the step's folder (training/calibration.py).

    Args:
      as of `checkpoint`.

    Returns:
      The file, and how reliable the scores are on that split before and after.

    Raises:
      CalibrationError: for a task whose scores have none, or where nothing was found.
      as `checkpoint`, and OSError where the file cannot be written.
    """
    extractor = extract.load(path, devices=0)
    data = data_of(extractor.job.config, root, changes)
    data.captions = captions or data.captions
    shown, predicted = _predicted(extractor, data, split, False, dataset, other=bool(changes))
    about = {"split": split, "data": data.name, "step": extractor.step}
    raw = calibration.raw_events(extractor.job.task, shown.records, [p.outputs for p in predicted], shown.encoded)
    found = calibration.fit(extractor.job.task, raw, about)
    assert raw is not None, "as fitted"
    return calibration.write(extractor.directory, extractor.step, found), Reliability(split, raw, found)


def gates(path: str | os.PathLike[str], split: str, *, root: str = "", captions: str = "", dataset: DataSet | None = None) -> Gates:
    """What DGF-PT's gates let through with a split's own pictures and with those of other records, and the scores of both.

    Args:
      as of `checkpoint`.

    Raises:
      ValueError: for a checkpoint without gates.
      CheckpointError, RecordError: as `checkpoint`.
    """
    extractor = extract.load(path, devices=0)
    if extractor.job.config.system.name != "dgf_pt" or not extractor.job.config.system.dual_gate or not extractor.job.system.plan:
        raise ValueError(f"{os.fspath(path)}: a checkpoint of {extractor.job.config.system.name!r} without dual-gated fusion has no gates")
    data = data_of(extractor.job.config, root)
    data.captions = captions or data.captions
    rows = []
    for shuffled in (False, True):
        shown, predicted = _predicted(extractor, data, split, shuffled, dataset)
        values = [p.outputs["fusion"] for p in predicted if p.seen]
        means = np.mean(values, axis=0).tolist() if values else [float("nan")] * len(TOLD)
        scores = extractor.job.task.metrics(shown.records, [p.found for p in predicted], None, shown.encoded)
        rows.append({"pictures": len(values), **dict(zip(TOLD, means, strict=True)), "micro.f1": task_lib.at(scores, "micro.f1")})
    return Gates(split, len(shown.records), *rows)


@dataclasses.dataclass(frozen=True)
class Gates:
    """Means over the records of a split that were shown with a picture: of what TOLD names, and the split's micro-F1.

    records: of the split.  own, other: with their own pictures, and with other records'.
    """

    split: str
    records: int
    own: Mapping[str, float]
    other: Mapping[str, float]

    def table(self) -> str:
        """As a table of text."""
        left, columns = f"{self.split}, {self.records:,} records", ("own pictures", "other records' pictures")
        lines = ["".join([f"{left:<26}", *(f"{column:>26}" for column in columns)])]
        for name in self.own:
            shown = (f"{row[name]:,}" if name == "pictures" else f"{row[name]:.4f}" for row in (self.own, self.other))
            lines.append("".join([f"{name:<26}", *(f"{value:>26}" for value in shown)]))
        return "\n".join(lines)


def predictions(
    path: str | os.PathLike[str],
    config: ConfigDict,
    split: str,
    *,
    root: str = "",
    captions: str = "",
    dataset: DataSet | None = None,
    precision: float | None = None,
) -> Evaluation:
    """Any program's predictions of a split, scored.

    Args:
      path: JSON lines (analysis.evaluation.read_predictions).
      config: the configuration whose task and data they are scored against.
      split: train, val or test.
      root, captions: the data set's folder and the file of captions, instead of data.root and data.captions.
      dataset: a user's own, if it is not one of datasets.DATASETS.
      precision: as of `checkpoint`.

    Raises:
      RecordError: naming line and field, for a broken line, or predictions that do not fit the split.
      ValueError, RecordError: as `datasets.open_records`.
    """
    known = _known(config, split, root, captions, dataset)
    found = read_predictions(path, config.task.name, known.task, known.examples)
    computed = ("precision",)  # of products: nothing is computed here
    about = {**{name: value for name, value in protocol(config).items() if name not in computed}, "predictions": os.fspath(path)}
    seen = frozenset(
        example.id for example in known.examples if example.image and datasets.readable(example.image)
    )  # what the other program looked at is not known
    return _scored(known, found, seen, about, precision)


def answers(
    paths: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    config: ConfigDict,
    split: str,
    *,
    root: str = "",
    dataset: DataSet | None = None,
    price: tuple[float, float] | None = None,
) -> tuple[Evaluation, Answers]:
    """What a prompted model answered about a split, scored: what cannot be read as the empty relation, or as nothing found.

    Args:
      paths: the files of answers (prompts/answers.py).
      folder: of the requests, with their manifest.
      config, split, root, dataset: as of `predictions`; those that the requests were made of.
      price: of a million tokens of prompts, and of answers.

    Raises:
      RecordError: naming line and field, for answers to other requests, or a file of another format; or the manifest.
      ValueError: for a configuration or data that are not those of the requests.
      ValueError, RecordError: as `datasets.open_records`.
    """
    asked = manifest.read(folder)
    config = write.settled(config, asked.question.pictures)
    known = _known(config, split, root, "", dataset)
    asked.check(config, split, known.examples, *write.named(known.kind, known.task))
    read = answers_lib.read(paths, asked, known.examples, price)
    about = {**asked.protocol, "model": read.model(), "answers": ", ".join(map(os.fspath, paths))}
    scored = _scored(known, read.found, asked.shown, about, None)
    return dataclasses.replace(scored, more={"answers": read.to_json()}), read


@dataclasses.dataclass(frozen=True)
class _Known:
    """A split that any program's predictions are scored on: the task's examples, and those of training."""

    split: str
    kind: str
    task: task_lib.Task
    train: Sequence[Record]
    examples: Sequence[Record]


def _known(config: ConfigDict, split: str, root: str, captions: str, dataset: DataSet | None) -> _Known:
    data, kind = data_of(config, root), config.task.name
    data.captions = captions or data.captions
    records = datasets.open_records(data, "train", dataset)
    task = scoring_task(config, *datasets.labels(data, kind, records, dataset))
    return _Known(split, kind, task, task.examples(records), task.examples(datasets.open_records(data, split, dataset)))


def _scored(
    known: _Known, found: Sequence[task_lib.Found], seen: frozenset[str], about: Mapping[str, Any], precision: float | None
) -> Evaluation:
    """Predictions, scored. seen: ids of the examples with a picture.  about: the protocol."""
    kind, task, examples = known.kind, known.task, known.examples
    encoded = task.encode(examples)
    reliability = _reliability(known.split, events.events(task, examples, found), None, precision)
    return Evaluation(known.split, kind, task, examples, found, seen, TrainedOn.of(kind, known.train), about, None, encoded, reliability)


def _trained_on(extractor: extract.Extractor, data: ConfigDict, dataset: DataSet | None) -> TrainedOn:
    """What there is to know of a checkpoint's training examples: as its run left it, else of the split, which is read."""
    steps, job = extractor.directory, extractor.job
    left = trained_on.read(steps.parent) if steps.name == FOLDER else None
    if left is not None:
        return left
    if extractor.task not in trained_on.ASKED:
        return TrainedOn()
    return TrainedOn.of(extractor.task, training_examples(job.task, job.config, datasets.open_records(data, "train", dataset)))


def _predicted(
    extractor: extract.Extractor, data: ConfigDict, split: str, shuffled: bool, dataset: DataSet | None, *, other: bool = False
) -> tuple[Split, list[Predicted]]:
    """A split's examples, and what a checkpoint predicts of each, outputs included. other: whether it is not the checkpoint's data set.

    Raises:
      RecordError: for another file of captions than training's that has none for a picture of the split.
    """
    records = datasets.open_records(data, split, dataset)
    if other:
        check_labels(extractor.job.task, records, f"data.name={data.name!r}, data.root={str(data.root)!r}, split {split!r}")
    if data.captions != extractor.job.config.data.get("captions", ""):
        datasets.caption_counts(data, {split: [records[index] for index in range(len(records))]})
    shown = make_split(extractor.job, records, train=split == "train" and not other, shuffled=shuffled, data=data, dataset=dataset)
    shown = with_features(extractor.job, {split: shown}, extractor.predictor.devices.first(extractor.variables), data)[split]
    return shown, extractor.predictor.predict(extractor.variables, shown, split, keep=True)


def _reliability(split: str, raw: Events | None, fitted: Mapping[str, Any] | None, precision: float | None) -> Reliability | None:
    if raw is None and precision is not None:
        raise ValueError(f"a threshold for precision {precision:g} needs a score, a probability, with every prediction")
    return None if raw is None else Reliability(split, raw, fitted, precision)
