"""One task a file: labels, features, decoding and metrics. A system has one task at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from mmre_jax.data.dataset import RecordSource, objects_of
from mmre_jax.data.text import TextEncoder
from mmre_jax.records import Record
from mmre_jax.tasks import prompted
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.tasks.entities import EntitiesTask, released_tags
from mmre_jax.tasks.objects import ObjectsTask
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.tasks.task import Task
from mmre_jax.tasks.triple_metrics import BoxWeights
from mmre_jax.tasks.triples import TriplesTask

WORDLESS = ("objects",)  # tasks that read pictures alone


def build(config: ConfigDict, encoder: TextEncoder, labels: Sequence[str], none: str) -> Task:
    """The task that a configuration names.

    Raises:
      ValueError: for a control that the task does not have.
    """
    name = config.task.name
    if name == "relation":
        return RelationTask(encoder, tuple(labels), none, config.data.blank_words, _prompted(config))
    if config.data.blank_words:
        raise ValueError(f"data.blank_words is a control of task 'relation': words are what task {name!r} is to find")
    if name == "entities":
        tags = released_tags(labels) if encoder.as_released else tuple(labels)
        letters = config.system.letters if config.system.name == "bilstm_crf" else 0
        return EntitiesTask(encoder, tags, none, released=encoder.as_released, letters=letters)
    if name == "objects":
        return ObjectsTask(encoder, tuple(labels), none, max_targets=config.task.max_targets)
    settings = config.task
    return TriplesTask(
        encoder,
        tuple(labels),
        none,
        max_targets=settings.max_targets,
        threshold=settings.threshold,
        merge_iou=settings.merge_iou,
        iou=settings.iou,
        queries=config.system.queries,
        weights=BoxWeights(config.system.weights.l1, config.system.weights.giou),
    )


def settled(config: ConfigDict, encoder: TextEncoder, labels: Sequence[str], records: RecordSource) -> ConfigDict:
    """The configuration with what its system has to know of tokenizer, labels and training records written out."""
    return prompted.settled(config, encoder, labels, records) if config.system.name == "dgf_pt" else config


def _prompted(config: ConfigDict) -> prompted.Prompted | None:
    system, sees = config.system, config.system.modalities == "both"
    if system.name != "dgf_pt":
        return None
    return prompted.Prompted(
        types=tuple(system.types),
        source=config.data.objects,
        objects=system.objects if sees and config.data.objects != "none" else 0,
        caption_tokens=system.caption_tokens if sees else 0,
    )


def calibrated(task: Task, calibration: Calibration) -> Task:
    """A task whose decoding calibrates scores.

    Raises:
      ValueError: for one that has no calibration: the boxes that a detector finds are ranked by their scores.
    """
    if isinstance(task, RelationTask | EntitiesTask | TriplesTask):
        return dataclasses.replace(task, calibration=calibration)
    raise ValueError("task 'objects' has no calibration: the scores of boxes rank them")


def telling(task: Task, top: int = 0) -> Task:
    """A task that decodes what an extraction tells: of relations the probabilities of the `top` most likely labels, of triples no box where
    no picture was seen.

    Raises:
      ValueError: for a `top` that is no whole number or below 0, or of another task than relations.
    """
    if not isinstance(top, int) or top < 0 or (top and not isinstance(task, RelationTask)):
        raise ValueError(f"top={top}: it is how many labels of a relation are told with their probabilities, 0 for none but the likeliest")
    if isinstance(task, RelationTask):
        return dataclasses.replace(task, top=top)
    return dataclasses.replace(task, unseen_boxes=False) if isinstance(task, TriplesTask) else task


def boxes_of(task: Task) -> tuple[str, ...]:
    """The kind of regions at whose boxes objects are read, if a task's system reads any so: ('detected',) or ('grounded',)."""
    asked = task.prompted if isinstance(task, RelationTask) else None
    return (asked.source,) if asked is not None and asked.objects else ()


def reads_captions(task: Task) -> bool:
    """Whether a task's system reads what a record's picture is said to show."""
    asked = task.prompted if isinstance(task, RelationTask) else None
    return asked is not None and asked.caption_tokens > 0


def also_read(task: Task, record: Record) -> list[Any]:
    """What a task's system reads of a record that neither its words, with what is annotated of them, nor its pictures show, as plain JSON
    values: the boxes of its objects, with their labels where they are the annotation."""
    if isinstance(task, ObjectsTask):
        return [[region.box, region.label] for region in objects_of(record)]
    asked = task.prompted if isinstance(task, RelationTask) else None
    return [] if asked is None else [region.box for region in asked.best(record) if region.box is not None]
