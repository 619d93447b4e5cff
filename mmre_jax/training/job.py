"""From a configuration, or from a checkpoint's metadata, to the task and the system they describe."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax import settings, systems, tasks
from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet
from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.pictures import plan_to_json
from mmre_jax.data.text import SPECIALS, TextEncoder, train_tokenizer
from mmre_jax.data.tokenizer_files import load_tokenizer
from mmre_jax.encoders.from_config import CAUSAL
from mmre_jax.records import Mention, Record, Relation
from mmre_jax.systems import released
from mmre_jax.systems.system import System
from mmre_jax.tasks.task import Task
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.training.formats import FormatError, upgrade, writer
from mmre_jax.training.protocol import versions
from mmre_jax.weights import pretrained


@dataclasses.dataclass(frozen=True)
class Job:
    """A resolved configuration with what follows from it."""

    config: ConfigDict
    task: Task
    system: System

    def meta(self) -> dict[str, Any]:
        """All that a checkpoint needs beside arrays, as plain JSON values: `restore_job` is its inverse."""
        return {
            "config": _plain(self.config.to_dict()),
            "labels": list(self.task.labels),
            "none": self.task.none,
            "tokenizer": self.task.encoder.tokenizer_json,
            "plan": plan_to_json(self.system.plan),
            "versions": versions(),
        }


def new_job(config: ConfigDict, train: Sequence[Record], dataset: DataSet | None = None, *, tokenizer: str = "") -> Job:
    """The job of a configuration: sizes resolved, and the tokenizer loaded from the weights, else the given one, else trained.

    Args:
      train: the records of the training split.
      dataset: a user's own, if it is not one of datasets.DATASETS.
      tokenizer: as JSON; of a checkpoint that the run starts from.
    """
    config = parts_that_are_there(pretrained.resolve(config))
    labels, none = datasets.labels(config.data, config.task.name, train, dataset)
    tokenizer = new_tokenizer(config, train, tokenizer)
    return make_job(tasks.settled(config, text_encoder(config, tokenizer), labels, train), labels, none, tokenizer)


def new_task(config: ConfigDict, train: Sequence[Record], dataset: DataSet | None = None) -> Task:
    """The task of a configuration with the tokenizer that a run has, but no system: to look at data as training sees them."""
    labels, none = datasets.labels(config.data, config.task.name, train, dataset)
    tokenizer = new_tokenizer(config, train)
    return make_task(tasks.settled(config, text_encoder(config, tokenizer), labels, train), labels, none, tokenizer)


def new_tokenizer(config: ConfigDict, train: Sequence[Record], tokenizer: str = "") -> str:
    """The tokenizer of the weights' directory, else the given one, else one trained on the training split, as JSON; without any words for
    a task that reads none."""
    if config.task.name in tasks.WORDLESS:
        return train_tokenizer((), len(SPECIALS), "word")
    if config.text.weights:
        return load_tokenizer(config.text.weights)
    return tokenizer or train_tokenizer((record.words for record in train), config.text.vocab_size, config.text.tokenizer)


def check_lengths(config: ConfigDict) -> None:
    """Raises ValueError for a text that is longer than any batch."""
    if config.task.name not in tasks.WORDLESS and config.text.max_tokens > buckets_of(config)[-1]:
        raise ValueError(f"text.max_tokens={config.text.max_tokens} exceeds the largest of data.buckets={config.data.buckets}")


def parts_that_are_there(config: ConfigDict) -> ConfigDict:
    """Without the settings that name the image encoder, where there is none: the text-only control of any configuration."""
    if config.system.modalities != "text":
        return config
    config = ConfigDict(config.to_dict())
    if "text" not in config.optim.frozen:
        config.data.features = "none"
    config.optim.frozen = tuple(part for part in config.optim.frozen if part != "vision")
    config.optim.multipliers = ConfigDict({part: factor for part, factor in config.optim.multipliers.items() if part != "vision"})
    return config.lock()


def read_meta(meta: Mapping[str, Any], where: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint's metadata in the present format. where: it is, for messages.

    Raises:
      CheckpointError: if it was written in a format that cannot be read, naming the version that wrote it, or lacks something.
    """
    try:
        meta = upgrade(meta)
    except FormatError as error:
        raise CheckpointError(f"{where}: {error}") from error
    if lacking := {"config", "labels", "none", "tokenizer", "plan"} - meta.keys():
        raise CheckpointError(f"{where}: the checkpoint's metadata lacks {', '.join(sorted(lacking))}")
    return meta


def restore_job(meta: Mapping[str, Any], where: str | os.PathLike[str]) -> Job:
    """The job that a checkpoint's metadata describes. where: it is, for messages.

    Raises:
      CheckpointError: as `read_meta`, or if its picture plan is not what its configuration makes today, naming the version that wrote it.
    """
    meta = read_meta(meta, where)
    config = settings.complete(_tuples(meta["config"]))
    job = make_job(ConfigDict(config).lock(), tuple(meta["labels"]), meta["none"], meta["tokenizer"])
    now = plan_to_json(job.system.plan)
    if now != meta["plan"]:
        lost, new = ([slot for slot in a if slot not in b] for a, b in ((meta["plan"], now), (now, meta["plan"])))
        raise CheckpointError(
            f"{where}: the checkpoint has format {meta['format']}, written by {writer(meta)}, whose system {job.config.system.name!r} "
            f"looked at other pictures than this version's: only that one at {lost or 'nothing'}, only this one at {new or 'nothing'}"
        )
    return job


def make_job(config: ConfigDict, labels: Sequence[str], none: str, tokenizer: str) -> Job:
    """The job of a resolved configuration, of a task's labels with the empty one among them, and of a tokenizer's JSON.

    Raises:
      ValueError: for settings that contradict each other.
    """
    check_lengths(config)
    task = make_task(config, labels, none, tokenizer)
    return Job(config, task, systems.build(config, vocab_size=task.encoder.vocab_size, labels=task.labels))


def make_task(config: ConfigDict, labels: Sequence[str], none: str, tokenizer: str) -> Task:
    """The task of a configuration, of its labels with the empty one among them, and of a tokenizer's JSON."""
    return tasks.build(config, text_encoder(config, tokenizer), labels, none)


def text_encoder(config: ConfigDict, tokenizer: str) -> TextEncoder:
    """What encodes a configuration's words, with a tokenizer as JSON."""
    how = {"markers": config.task.name == "relation", "causal": config.text.kind in CAUSAL}
    return TextEncoder(tokenizer, config.text.max_tokens, as_released=released.is_asked_for(config), **how)


def shapes(job: Job) -> Any:
    """Shapes and dtypes of a system's variables, without allocating them."""
    return jax.eval_shape(functools.partial(job.system.init, jax.random.key(0)), sample(job))


def sample(job: Job, length: int | None = None) -> dict[str, Any]:
    """A batch of one record that is made up, as the loader gives batches: of it only shapes and dtypes matter.

    Args:
      length: tokens it is padded to; as many as it has if None.
    """
    example = Record(id="shape", words=("a", "b"), relations=(Relation(Mention(0, 1), Mention(1, 2)),))
    [encoded] = job.task.encode([example])
    length = len(encoded) if length is None else length
    features: dict[str, Any] = {**job.task.features(example, length, encoded), "index": np.int32(0), "valid": np.bool_(True)}
    pictures = datasets.open_pictures(job.system.plan)
    if pictures is not None:
        features["pictures"], features["present"] = pictures(example)
    return jax.tree.map(lambda x: np.asarray(x)[None], features)


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _tuples(value: Any) -> Any:
    """Lists as tuples, as configurations have them."""
    if isinstance(value, Mapping):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
