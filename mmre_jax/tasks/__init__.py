"""One task a file: labels, features, decoding and metrics. A system has one task at a time."""

from __future__ import annotations

from collections.abc import Sequence

from ml_collections import ConfigDict

from mmre_jax.data.text import TextEncoder
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
        return RelationTask(encoder, tuple(labels), none, blank_words=config.data.blank_words)
    if config.data.blank_words:
        raise ValueError(f"data.blank_words is a control of task 'relation': words are what task {name!r} is to find")
    if name == "entities":
        released = config.system.flavour == "reference"
        return EntitiesTask(encoder, released_tags(labels) if released else tuple(labels), none, released=released)
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
