"""Scores several runs, or any programs' predictions, on a split, and compares them: what launch.compare prints and writes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ml_collections import ConfigDict

from mmre_jax import evaluate, storage
from mmre_jax.analysis.comparison import Comparison, Run, check_names, compare
from mmre_jax.analysis.plots import short_names
from mmre_jax.data.dataset import DataSet
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.job import restore_job
from mmre_jax.training.locate import locate

PREDICTIONS = (".jsonl", ".json")  # endings of files of predictions; all else is a run


def runs(
    places: Sequence[str | os.PathLike[str]],
    split: str = "test",
    *,
    names: Sequence[str] = (),
    config: ConfigDict | None = None,
    root: str = "",
    captions: str = "",
    resamples: int = 10_000,
    seed: int = 0,
    dataset: DataSet | None = None,
) -> Comparison:
    """Runs beside each other on a split.

    Args:
      places: of each a run's workdir (its best step is taken), the directory of one step, or a file of predictions
        (analysis.evaluation.read_predictions), such as the predictions.jsonl of launch.evaluate.
      split: train, val or test.
      names: of the runs; what tells their places apart if none are given.
      config: the configuration whose task and data predictions are scored against; that of the first run if None.
      root, captions: as of `evaluate.checkpoint`, for all runs.
      resamples, seed: of the bootstrap.
      dataset: a user's own that the runs were trained on, if it is not one of datasets.DATASETS.

    Raises:
      ValueError: as `comparison.compare`; for predictions alone without a configuration; for names that are not one for each place.
      CheckpointError, RecordError: as `evaluate.checkpoint` and `evaluate.predictions`.
    """
    files = [storage.path(place).suffix in PREDICTIONS for place in places]
    named = tuple(names) or tuple(short_names([os.fspath(place) for place in places]))
    check_names(named, len(places))
    trained = [None if is_file else configuration(place) for place, is_file in zip(places, files, strict=True)]
    against = next((found for found in (config, *trained) if found is not None), None)
    if against is None:
        raise ValueError("predictions alone need a configuration, whose task and data say what they are scored against")
    found = []
    for name, place, own in zip(named, places, trained, strict=True):
        if own is None:
            evaluation = evaluate.predictions(place, against, split, root=root, captions=captions, dataset=dataset)
        else:
            evaluation = evaluate.checkpoint(place, split, root=root, captions=captions, dataset=dataset)
        found.append(Run(name, evaluation, own))
    return compare(found, resamples, seed)


def configuration(path: str | os.PathLike[str]) -> ConfigDict:
    """What the checkpoint of a run, its best step, or of one step's directory was trained with. Raises CheckpointError."""
    directory, step = locate(path)
    with Checkpoints(directory, read_only=True) as checkpoints:
        return restore_job(checkpoints.meta(step), checkpoints.where(step)).config
