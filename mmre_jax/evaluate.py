"""Scores a checkpoint, or any program's predictions, on a split of a data set: what launch.evaluate prints and writes."""

from __future__ import annotations

import copy
import os

from ml_collections import ConfigDict

from mmre_jax import extract
from mmre_jax.analysis import report
from mmre_jax.analysis.evaluation import Evaluation, read_predictions, scoring_task
from mmre_jax.analysis.frequency import training_counts
from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet
from mmre_jax.data.sampling import is_shuffled
from mmre_jax.training.evaluate import make_split, training_examples
from mmre_jax.training.setup import protocol


def checkpoint(
    path: str | os.PathLike[str],
    split: str,
    *,
    root: str = "",
    captions: str = "",
    shuffle: bool = False,
    dataset: DataSet | None = None,
) -> Evaluation:
    """A trained checkpoint's predictions of a split, on all local devices, scored.

    Args:
      path: a run's workdir (its best step is taken) or the directory of one step.
      split: train (of it what the run was trained on), val or test.
      root: the data set's folder, where it is not where it was in training.
      captions: the file of captions, where it is not where it was in training.
      shuffle: show every record with another record's picture, whatever data.shuffle_pictures says.
      dataset: a user's own that the checkpoint was trained on, if it is not one of datasets.DATASETS.

    Raises:
      CheckpointError: if there is no checkpoint, or it is of another format or version.
      ValueError, RecordError: as `datasets.open_records`.
    """
    extractor = extract.load(path, devices=0)
    job, kind = extractor.job, extractor.task
    data = _data(job.config, root)
    data.captions = captions or data.captions
    train = training_examples(job, datasets.open_records(data, "train", dataset))
    shuffled = shuffle or is_shuffled(data, split)
    records = datasets.open_records(data, split, dataset)
    shown = make_split(job, records, train=split == "train", shuffled=shuffled, data=data, dataset=dataset)
    predicted = extractor.predictor.predict(extractor.variables, shown, split, keep=True)
    seen = frozenset(r.id for r, p in zip(shown.records, predicted, strict=True) if p.seen)
    about = {**protocol(job.config), "pictures": "shuffled" if shuffled else "own", "step": extractor.step}
    found, outputs = [p.found for p in predicted], [p.outputs for p in predicted]
    trained = training_counts(train) if kind == "relation" else {}
    return Evaluation(split, kind, job.task, shown.records, found, seen, report.known(kind, train), about, outputs, trained)


def predictions(
    path: str | os.PathLike[str], config: ConfigDict, split: str, *, root: str = "", dataset: DataSet | None = None
) -> Evaluation:
    """Any program's predictions of a split, scored.

    Args:
      path: JSON lines (analysis.evaluation.read_predictions).
      config: the configuration whose task and data they are scored against.
      split: train, val or test.
      root: the data set's folder, instead of data.root.
      dataset: a user's own, if it is not one of datasets.DATASETS.

    Raises:
      RecordError: naming line and field, for a broken line, or predictions that do not fit the split.
      ValueError, RecordError: as `datasets.open_records`.
    """
    data, kind = _data(config, root), config.task.name
    records = datasets.open_records(data, "train", dataset)
    task = scoring_task(config, *datasets.labels(data, kind, records, dataset))
    train, examples = task.examples(records), task.examples(datasets.open_records(data, split, dataset))
    found = read_predictions(path, kind, task, examples)
    computed = ("precision",)  # of products: nothing is computed here
    about = {**{name: value for name, value in protocol(config).items() if name not in computed}, "predictions": os.fspath(path)}
    seen = frozenset(
        example.id for example in examples if example.image and datasets.readable(example.image)
    )  # what the other program looked at is not known
    trained = training_counts(train) if kind == "relation" else {}
    return Evaluation(split, kind, task, examples, found, seen, report.known(kind, train), about, trained=trained)


def _data(config: ConfigDict, root: str) -> ConfigDict:
    data = ConfigDict(copy.deepcopy(config.data.to_dict()))
    if root:
        data.root = root
    return data
