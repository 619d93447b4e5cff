"""A checkpoint on other data than it was trained on: which settings name them, and whether their labels fit."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mmre_jax import settings
from mmre_jax.data import datasets
from mmre_jax.data.dataset import RecordSource, objects_of
from mmre_jax.data.views import TASK_OF
from mmre_jax.declare import SettingError, all_of, problems
from mmre_jax.records import Record
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.tasks.task import Task
from mmre_jax.tasks.triples import TriplesTask
from mmre_jax.training.protocol import protocol

# Of section `data`: which records are read, and nothing of what a system makes of them.
SETTINGS = ("name", "root", "objects", "captions", "view", "scene", "counts", "published", "none_label")


def data_of(config: ConfigDict, root: str, changes: Mapping[str, Any] | None = None) -> ConfigDict:
    """A copy of section `data` of a checkpoint's configuration that names a split's data.

    Args:
      root: the data set's folder, where it is not where it was in training; '' where it is.
      changes: of SETTINGS, those that name another data set; captions are then the records' own unless these name a file.

    Raises:
      SettingError: for a change that is none of SETTINGS, a value that the setting cannot have or the checkpoint was not made for, and two
        folders.
    """
    if root and changes and changes.get("root", root) != root:
        raise SettingError(f"data.root={str(changes['root'])!r} and --root={root!r}: two folders for one data set")
    data = ConfigDict(copy.deepcopy(config.data.to_dict()))
    if root:
        data.root = root
    if not changes:
        return data
    if strange := [name for name in changes if name not in SETTINGS]:
        known = ", ".join(f"data.{name}" for name in SETTINGS)
        raise SettingError(f"data.{strange[0]}: of a checkpoint's settings those can be changed that say which data are read, {known}")
    data.update({"captions": "", **changes})
    if wrong := problems("data", data, settings.DATA):
        raise SettingError(all_of(wrong))
    if data.objects not in ("none", config.data.objects):
        raise SettingError(f"data.objects={data.objects!r}: the checkpoint was trained with {config.data.objects!r}; none masks them")
    if (view := datasets.view_of(data)) and TASK_OF.get(view) != config.task.name:
        raise SettingError(f"data.view={view!r} shows records of another task than the checkpoint's, {config.task.name!r}")
    return data


def protocol_of(config: ConfigDict, data: ConfigDict, changes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The protocol of a checkpoint's scores on these data."""
    if not changes:
        return protocol(config)
    other = config.copy_and_resolve_references().unlock()
    other.data = data
    return {**protocol(other), "root": str(data.root), "trained on": config.data.name}


def check_labels(task: Task, records: RecordSource, where: str) -> None:
    """Refuses another data set's labels that a checkpoint does not have, and data without any.

    Raises:
      ValueError: naming all of them, and how often each is annotated; for data in which nothing of what the checkpoint finds is annotated.
    """
    found = [label for index in range(len(records)) for label in _labels(task, records[index])]
    counts = Counter(label for label in found if label is not None)
    known = task.types if isinstance(task, EntitiesTask) else task.labels
    if len(records) and not found:
        raise ValueError(f"{where}: in none of {len(records)} records is annotated what the checkpoint finds, which is {', '.join(known)}")
    if lacking := {label: count for label, count in counts.most_common() if label not in known}:
        told = ", ".join(f"{label!r} ({count})" for label, count in lacking.items())
        raise ValueError(f"{where}: labels that the checkpoint lacks, and how often they are annotated: {told}; it has {', '.join(known)}")


def _labels(task: Task, record: Record) -> list[str | None]:
    """What is annotated in a record of the kind that a task finds."""
    if isinstance(task, RelationTask):
        return [relation.label for relation in record.relations]
    if isinstance(task, EntitiesTask):
        return [mention.type for mention in record.mentions]
    if isinstance(task, TriplesTask):
        return [triple.label for triple in record.triples]
    return [region.label for region in objects_of(record)]
