"""A run's programs, compiled side by side before its first step: a training step and a prediction for every padded length that comes."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.loader import Order
from mmre_jax.data.split import Split
from mmre_jax.progress import Progress
from mmre_jax.training.evaluate import Predictor
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.parallel import Devices

Shapes = tuple[tuple[int, ...], ...]  # of a batch's arrays
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A mapped function of a batch among others, with what was compiled of it beforehand; other batches it compiles when they come.

    place: of the batch among the arguments.
    """

    mapped: Callable[..., Any]
    place: int
    programs: Mapping[Shapes, Callable[..., Any]]

    def __call__(self, *arguments: Any) -> Any:
        return self.programs.get(_shapes(arguments[self.place]), self.mapped)(*arguments)


def compile_run(
    step: Callable[..., Any],
    arguments: tuple[Any, Any],
    predictor: Predictor,
    order: Order,
    train: Split,
    fill: Callable[[Any], Any],
    held: Sequence[Split],
    span: tuple[int, int],
) -> tuple[Compiled, Predictor]:
    """The training step and the predictor of a run, compiled for what comes in it.

    Args:
      step: as `mapped_step` makes it.
      arguments: the state and the key it is called with, on the devices.
      order: of training.
      train, fill: the split that its batches are of, and what makes of one on the devices what the step takes (training/resident.py).
      held: the splits that are predicted.
      span: steps [first, last) that will be trained; predictions are made if an epoch ends among them.

    Of several processes under pmap nothing is compiled beforehand: each length is when it comes.
    """
    devices, (state, key), (first, last) = predictor.devices, arguments, span
    if jax.process_count() > 1 and isinstance(devices, Devices):  # pmap lowers beforehand for the devices of one process alone
        return Compiled(step, 1, {}), predictor
    began = time.perf_counter()
    trained = {length for epoch in range(first // order.steps, -(-last // order.steps)) for length in order.epoch(epoch)[1].tolist()}
    predicted = _predicted(predictor, held) if last // order.steps > first // order.steps else set()
    steps = {length: fill(_batch(train, order.batch, length, devices)) for length in sorted(trained)} if last > first else {}
    predictions = {length: _batch(held[0], predictor.batch, length, devices) for length in sorted(predicted)}
    variables = state.variables()
    jobs = [(step, (state, batch, key)) for batch in steps.values()]
    jobs += [(predictor.step, (variables, batch)) for batch in predictions.values()]
    programs = iter(_compile(jobs))
    if jobs:
        said = f"training at {_listed(steps)} tokens" + (f", predictions at {_listed(predictions)}" if predictions else "")
        logger.info("compiled in %.1f s: %s", time.perf_counter() - began, said)
    moved, told = ({_shapes(batch): next(programs) for batch in batches.values()} for batches in (steps, predictions))
    return Compiled(step, 1, moved), dataclasses.replace(predictor, step=Compiled(predictor.step, 1, told))


def _predicted(predictor: Predictor, held: Sequence[Split]) -> set[int]:
    """The padded lengths at which splits are predicted."""
    orders = (Order(split.lengths, predictor.batch, buckets_of(predictor.job.config), train=False) for split in held)
    return {length for order in orders for length in order.epoch(0)[1].tolist()}


def _batch(split: Split, count: int, length: int, devices: Devices | MeshDevices) -> Any:
    """A batch of zeros on the devices, as a split's batches are: of it only shapes matter, and where it lies."""
    one = {**split(np.zeros(1, np.int64), length), "index": np.zeros(1, np.int32), "valid": np.zeros(1, bool)}
    own = count // jax.process_count()
    return devices.shard(jax.tree.map(lambda x: np.zeros((own, *x.shape[1:]), x.dtype), one))


def _compile(jobs: list[tuple[Any, tuple[Any, ...]]]) -> list[Callable[..., Any]]:
    """Each function compiled for its arguments. Tracing holds Python's lock, XLA's work does not."""
    with concurrent.futures.ThreadPoolExecutor(min(len(jobs), os.cpu_count() or 1) or 1, "compile") as pool:
        running = [pool.submit(lambda mapped, given: mapped.lower(*given).compile(), *job) for job in jobs]
        with Progress("compile", len(jobs), unit="program", leave=False) as progress:
            for _ in concurrent.futures.as_completed(running):
                progress.advance()
        return [each.result() for each in running]


def _shapes(batch: Any) -> Shapes:
    return tuple(x.shape for x in jax.tree.leaves(batch))


def _listed(lengths: Iterable[int]) -> str:
    return ", ".join(map(str, lengths))
