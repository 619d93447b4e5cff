"""What a run is scored by, kept in files beside it: result.json, counts.npz for the bootstrap, predictions.jsonl."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmre_jax import evaluate, pipelines, storage
from mmre_jax.analysis import comparison_counts, crop_count, evaluation
from mmre_jax.analysis.evaluation import Evaluation
from mmre_jax.data import datasets
from mmre_jax.records import RecordError, plain
from mmre_jax.training.job import new_task
from mmre_jax.training.log import read_json, write_json, write_text
from mmre_jax.training.protocol import protocol, versions

RESULT, COUNTS, PREDICTIONS = "result.json", "counts.npz", "predictions.jsonl"
SPLIT = "test"


@dataclasses.dataclass(frozen=True)
class Result:
    """A scored run.

    metrics: the task's, and under 'training' what training took.  counts: int [N, M, 3], right, predicted and gold of each record by the
    measures named in `measures`; None where there is no such measure.  ids: of the records.
    """

    metrics: Mapping[str, Any]
    protocol: Mapping[str, Any]
    measures: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    counts: np.ndarray | None = None

    def at(self, metric: str) -> float | None:
        """A score by its dotted name, None where there is none of that name, or it is no number."""
        value: Any = self.metrics
        for part in metric.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def of_checkpoint(run: pathlib.Path, out: pathlib.Path, *, shuffled: bool = False) -> None:
    """Scores a run's best step on test, with other records' pictures if `shuffled`, and keeps it. Of a run that was stopped and went on
    nobody knows the minutes of the whole."""
    found = evaluate.checkpoint(run, SPLIT, shuffle=shuffled)
    trained = read_json(run / "metrics.json") or {}
    speed = trained.get("speed") or {}
    training = {"minutes": None if speed.get("from_step") else trained.get("minutes"), **speed, "steps": trained.get("steps")}
    _keep(found, out, {"training": training})


def of_predictions(file: pathlib.Path, config: ConfigDict, out: pathlib.Path) -> None:
    """Scores predictions that a run has made already, by the rules of another configuration."""
    _keep(evaluate.predictions(file, config, SPLIT), out, {})


def of_pipeline(config: ConfigDict, runs: Mapping[str, pathlib.Path], out: pathlib.Path) -> None:
    """Scores a tagger, a detector and a classifier that work one behind the other."""
    _keep(pipelines.evaluate(config, runs, SPLIT, devices=0), out, {})


def of_crop_counts(config: ConfigDict, out: pathlib.Path) -> None:
    """Scores what the number of object crops tells."""
    _keep(crop_count.evaluate(config, SPLIT), out, {})


def of_data(config: ConfigDict, out: pathlib.Path) -> None:
    """Counts a data set, as training and scoring see it: train, val, test (examples), facts {train, val, test, all} (relations, mentions
    or triples), entities (mentions that facts name), relations (labels), pictures, facts_per_example (mean)."""
    records = {split: datasets.open_records(config.data, split) for split in datasets.SPLITS}
    task = new_task(config, records["train"])
    examples = {split: list(task.examples(found)) for split, found in records.items()}
    gold = {split: [comparison_counts.gold(config.task.name, record) for record in found] for split, found in examples.items()}
    facts = {split: sum(map(len, found)) for split, found in gold.items()}
    pictures = {record.image for found in examples.values() for record in found if record.image is not None}
    ends = 2 if config.task.name == "relation" else 1  # a relation has a head and a tail
    counts = {
        **{split: len(found) for split, found in examples.items()},
        "all": sum(map(len, examples.values())),
        "facts": {**facts, "all": sum(facts.values())},
        "entities": ends * sum(facts.values()),
        "relations": len(task.labels),
        "pictures": len(pictures),
        "facts_per_example": sum(facts.values()) / sum(map(len, examples.values())),
    }
    keep(Result(counts, protocol(config)), out)


def of_settings(config: ConfigDict, out: pathlib.Path) -> None:
    """The settings themselves: what a table of settings is compared with."""
    keep(Result(config.to_dict(), protocol(config)), out)


def read(folder: pathlib.Path) -> Result | None:
    """What was kept in a folder; None where nothing was.

    Raises:
      RecordError: naming the folder, where a file of it is damaged, or lacking, or another version's.
    """
    try:
        found = read_json(folder / RESULT)
        if found is None:
            return None
        metrics, about = dict(found["metrics"]), dict(found["protocol"])
        if not found["counted"]:
            return Result(metrics, about)
        with np.load(io.BytesIO((folder / COUNTS).read_bytes()), allow_pickle=False) as packed:
            measures, ids = (tuple(map(str, packed[name])) for name in ("measures", "ids"))
            counts = packed["counts"]
        if counts.shape != (len(ids), len(measures), 3):
            raise ValueError(f"counts of shape {counts.shape} for {len(ids)} records and {len(measures)} measures")
    except (ValueError, KeyError, TypeError, EOFError, FileNotFoundError, zipfile.BadZipFile) as error:
        raise RecordError(f"{folder}: not a result as this library keeps it ({type(error).__name__}: {error})") from error
    return Result(metrics, about, measures, ids, counts)


def is_kept(folder: pathlib.Path) -> bool:
    """Whether a folder has a result: it is written last."""
    return (folder / RESULT).is_file()


def keep(result: Result, out: pathlib.Path) -> None:
    """Writes a result into a folder, result.json last: where it is there, all of it is."""
    storage.make_folder(out)
    if result.counts is not None:
        packed = io.BytesIO()
        names = {"measures": np.array(result.measures, dtype=str), "ids": np.array(result.ids, dtype=str)}
        np.savez_compressed(packed, counts=result.counts, **names)
        storage.write_bytes(out / COUNTS, packed.getvalue())
    told = {"metrics": result.metrics, "protocol": result.protocol, "counted": result.counts is not None, "versions": versions()}
    write_json(out / RESULT, told)


def _keep(found: Evaluation, out: pathlib.Path, more: Mapping[str, Any]) -> None:
    storage.make_folder(out)
    rows = [evaluation.row(found.kind, *each) for each in zip(found.records, found.predicted, strict=True)]
    write_text(out / PREDICTIONS, "".join(f"{json.dumps(row, ensure_ascii=False, default=plain)}\n" for row in rows))
    metrics, about = {**found.scores(), **more}, dict(found.protocol)
    if found.kind not in comparison_counts.MEASURES:
        keep(Result(metrics, about), out)
        return
    counted = comparison_counts.count(found.kind, found.task, found.records, [found.predicted])
    keep(Result(metrics, about, counted.measures, tuple(record.id for record in found.records), counted.by_measure[0]), out)
