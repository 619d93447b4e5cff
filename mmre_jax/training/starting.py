"""The state that a run begins with."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.loader import Order, batches
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
from mmre_jax.weights import pretrained


def starting_state(
    job: Job,
    train: Split,
    total_steps: int,
    checkpoints: Checkpoints,
    saved: Saved | None,
    source: Source | None,
    devices: Devices | MeshDevices,
) -> TrainState:
    """The state that a run begins with: that of its last checkpoint, else one of another run's parameters, else a random one.

    Raises:
      CheckpointError: as `resume.restore` and `initialise`.
    """
    if saved is not None:
        state = jax.eval_shape(lambda variables: state_of(job, variables, total_steps), variable_shapes(job, train))
        return resume.restore(checkpoints, saved, devices.abstract(state))
    if source is not None:
        batch, parts = example(job, train), job.config.train.init_parts
        return state_of(job, initialise(source, job, initial_variables(job, train), batch, parts), total_steps)
    return initial_state(job, train, total_steps)


def initial_state(job: Job, split: Split, total_steps: int) -> TrainState:
    """Random parameters, encoders filled from their directories, optimiser state for what is trained; on the host's first device."""
    return state_of(job, initial_variables(job, split), total_steps)


def initial_variables(job: Job, split: Split) -> dict[str, Any]:
    """Random parameters, encoders filled from their directories; on the host's first device."""
    variables = jax.jit(job.system.init)(jax.random.key(job.config.train.seed), example(job, split))
    return pretrained.load(job.config, job.system.plan, variables)


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
