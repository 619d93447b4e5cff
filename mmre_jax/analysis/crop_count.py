"""What relations can be told from how many object crops a record has, and nothing else: the floor that a protocol of crops is to be read
against, scored as any system's predictions are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict
from sklearn.tree import DecisionTreeClassifier

from mmre_jax.analysis.evaluation import Evaluation, scoring_task
from mmre_jax.analysis.leakage import DEPTH, LEAF
from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet
from mmre_jax.records import Record
from mmre_jax.training.protocol import protocol
from mmre_jax.training.splits import training_examples
from mmre_jax.training.trained_on import TrainedOn


def evaluate(config: ConfigDict, split: str, *, dataset: DataSet | None = None) -> Evaluation:
    """A tree that is grown on data.train_share of the training split's numbers of crops, of each way in which they were found one, scored
    on another split.

    Neither words nor pixels are looked at. The crops are those of data.objects; without any it is the majority's answer.

    Raises:
      ValueError: for another task than relations.
      ValueError, RecordError: as `datasets.open_records`.
    """
    if config.task.name != "relation":
        raise ValueError(f"how many crops there are is asked of relations, found task.name={config.task.name!r}")
    read = {name: datasets.open_records(config.data, name, dataset) for name in ("train", split)}
    task = scoring_task(config, *datasets.labels(config.data, "relation", read["train"], dataset))
    train, shown = training_examples(task, config, read["train"]), list(task.examples(read[split]))
    crops = [] if config.data.objects == "none" else sorted({region.source for record in train for region in record.regions})
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAF, random_state=0)
    tree.fit(_counts(train, crops), [record.relations[0].label for record in train])
    labels = tree.predict(_counts(shown, crops))
    found = [(dataclasses.replace(r.relations[0], label=str(label), score=None),) for r, label in zip(shown, labels, strict=True)]
    about = {**protocol(config), "objects": config.data.objects, "predictions": "number of crops"}
    known = TrainedOn.of("relation", train)
    return Evaluation(split, "relation", task, shown, found, frozenset(), known, about, None, task.encode(shown))


def _counts(records: Sequence[Record], sources: Sequence[str]) -> np.ndarray:
    """float32 [N, sources + 1]; a column of ones, so that there is one where no record has a crop."""
    rows = [[1, *([region.source for region in record.regions].count(source) for source in sources)] for record in records]
    return np.array(rows, np.float32)
