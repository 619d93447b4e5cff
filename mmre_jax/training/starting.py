"""The state that a run begins with."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.loader import Order, batches
from mmre_jax.encoders.from_config import VECTORS
from mmre_jax.training import resume
from mmre_jax.training import state as state_lib
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.initialise import Source, initialise
from mmre_jax.training.job import Job
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.optim import make_optimizer
from mmre_jax.training.parallel import Devices
from mmre_jax.training.resume import Saved
from mmre_jax.training.splits import Split
from mmre_jax.training.state import TrainState
from mmre_jax.weights import pretrained, vectors
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.vectors import Vectors


def starting_state(
    job: Job,
    train: Split,
    total_steps: int,
    checkpoints: Checkpoints,
    saved: Saved | None,
    source: Source | None,
    devices: Devices | MeshDevices,
    words: Vectors | None = None,
) -> TrainState:
    """The state that a run begins with: that of its last checkpoint, else one of another run's parameters, else a random one.

    Args:
      words: as of `initial_variables`.

    Raises:
      CheckpointError: as `resume.restore` and `initialise`.
    """
    if saved is not None:
        state = jax.eval_shape(lambda variables: state_of(job, variables, total_steps), variable_shapes(job, train))
        return resume.restore(checkpoints, saved, devices.abstract(state))
    if source is not None:
        batch, parts = example(job, train), job.config.train.init_parts
        return state_of(job, initialise(source, job, initial_variables(job, train, words), batch, parts), total_steps)
    return initial_state(job, train, total_steps, words)


def initial_state(job: Job, split: Split, total_steps: int, words: Vectors | None = None) -> TrainState:
    """Random parameters, encoders filled from their files, optimiser state for what is trained; on the host's first device."""
    return state_of(job, initial_variables(job, split, words), total_steps)


def initial_variables(job: Job, split: Split, words: Vectors | None = None) -> dict[str, Any]:
    """Random parameters, encoders filled from their files; on the host's first device.

    Args:
      words: what `word_vectors` gives of the job, where that has been read before.
    """
    variables = jax.jit(job.system.init)(jax.random.key(job.config.train.seed), example(job, split))
    variables = pretrained.load(job.config, job.system.plan, variables)
    words = word_vectors(job) if words is None else words
    if words is not None and len(words.places):
        params, table = variables["params"], variables["params"]["text"]["word"]
        filled = table.at[words.places].set(words.values)
        return {**variables, "params": {**params, "text": {**params["text"], "word": filled}}}
    return variables


def word_vectors(job: Job) -> Vectors | None:
    """What the file that text.vectors names has of the words of a job's tokenizer, by their ids; of none where it names none, all being
    random then; None for a job that reads no word vectors.

    Raises:
      WeightError: as `vectors.read`, and for a file that has none of the words.
    """
    text = job.config.text
    if text.kind != VECTORS:
        return None
    known = job.task.encoder.words
    if not text.vectors:
        return Vectors(np.zeros(0, np.int64), np.zeros((0, text.width), np.float32), 0, len(known))
    found = vectors.read(text.vectors, list(known), text.width)
    if not len(found.places):
        raise WeightError(f"text.vectors={text.vectors}: the file has none of the {len(known):,} words, such as {next(iter(known))!r}")
    return dataclasses.replace(found, places=np.array(list(known.values()), np.int64)[found.places])


def word_counts(words: Vectors | None, saved: Saved | None) -> dict[str, int]:
    """How many words a run's tokenizer has, and how many of their vectors it began with are a file's; as the checkpoint says where the run
    goes on; empty where no word vectors are read."""
    return dict(saved.meta.get("words") or {}) if saved is not None else {} if words is None else words.counts()


def variable_shapes(job: Job, split: Split) -> Any:
    """Shapes and dtypes of a system's variables, without making them."""
    return jax.eval_shape(job.system.init, jax.random.key(0), example(job, split))


def example(job: Job, split: Split) -> dict[str, Any]:
    """A batch of the split's first record."""
    alone = dataclasses.replace(split, records=split.records[:1], encoded=split.encoded[:1], picture_of=None)
    return next(batches(Order(alone.lengths, 1, buckets_of(job.config), train=False), alone))


def state_of(job: Job, variables: Any, total_steps: int) -> TrainState:
    """The state at step 0 of these variables."""
    params, _ = state_lib.split_params(variables["params"], job.config.optim.frozen)
    return state_lib.create(variables, job.config.optim.frozen, make_optimizer(job.config.optim, params, total_steps))
