"""The moving parts of a training run: steps, logging, evaluation, checkpoints, and the ways it can stop early."""

from __future__ import annotations

import dataclasses
import logging
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from mmre_jax.data.loader import Batch, Order, batches
from mmre_jax.progress import Progress
from mmre_jax.tasks import task as task_lib
from mmre_jax.training import processes
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.evaluate import Predictor, Split, make_predictor
from mmre_jax.training.log import MetricLog
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.optim import make_optimizer, schedule
from mmre_jax.training.parallel import Devices
from mmre_jax.training.setup import Job
from mmre_jax.training.state import TrainState
from mmre_jax.training.step import make_train_step, precise

logger = logging.getLogger(__name__)


class NonFiniteError(RuntimeError):
    """The loss or its gradient was not finite."""


class Interrupted(RuntimeError):
    """The run stopped early, on purpose or by a signal, with a checkpoint to go on from."""


def mapped_step(job: Job, devices: Devices | MeshDevices, state: TrainState, total_steps: int) -> tuple[Callable[..., Any], Any]:
    """The job's training step over all devices, step(state, batch, key) -> (state, metrics), and the key it is to be called with.

    Args:
      state: on the devices or not; only its structure matters, and for a mesh its shapes.
    """
    config, layout = job.config, devices.layout(state.variables())
    tx = make_optimizer(config.optim, state.params, total_steps, layout.norm)
    step = make_train_step(job.system, tx, axis=layout.axis, accumulate=config.optim.accumulate, layout=layout, remat=config.train.remat)
    step = precise(step, config.train.precision)
    key = devices.replicate(jax.random.key_data(jax.random.key(config.train.seed + 1)))
    mapped = devices.map(
        lambda s, b, k: step(s, b, jax.random.wrap_key_data(k)), donate=(0,), takes=("state", "records", "same"), gives=("state", "same")
    )
    return mapped, key


def train_stream(job: Job, order: Order, split: Split, first: int, last: int) -> Iterator[Batch]:
    """This process's batches of the steps [first, last) of training, on the host."""
    return batches(
        order,
        split.records,
        job.task.features,
        split.pictures,
        first=first,
        last=last,
        picture_of=split.picture_of,
        process=jax.process_index(),
        processes=jax.process_count(),
        workers=job.config.data.workers,
        threads=job.config.data.threads,
    )


@dataclasses.dataclass
class Run:
    """The moving parts of a run. meta: what each checkpoint says of it."""

    job: Job
    devices: Devices | MeshDevices
    order: Order
    splits: dict[str, Split]
    checkpoints: Checkpoints
    log: MetricLog
    total_steps: int
    meta: dict[str, Any]

    def __post_init__(self) -> None:
        self.predictor: Predictor = make_predictor(self.job, self.devices)
        self.history: dict[int, dict[str, Any]] = {}
        self.seconds = {"steps": 0.0, "waiting": 0.0, "count": 0.0}

    def fit(self, state: TrainState, start: int) -> None:
        """Steps [start, total_steps)."""
        config = self.job.config
        self.history = processes.decided(lambda: {row["step"]: row["val"] for row in self.log.rows() if "val" in row})
        step_fn, key = mapped_step(self.job, self.devices, state, self.total_steps)
        stream = self.devices.prefetch(train_stream(self.job, self.order, self.splits["train"], start, self.total_steps))
        rates = schedule(config.optim, self.total_steps)
        note, stop_asked = "", processes.AnyFlag()
        with StopSignal() as stop, Progress("train", self.total_steps, start=start, unit="step") as progress:
            for step in range(start, self.total_steps):
                began = time.perf_counter()
                batch = next(stream)
                waited = time.perf_counter()
                state, metrics = step_fn(state, batch, key)
                if jax.default_backend() == "cpu":  # steps in flight with callbacks can starve each other of threads there
                    jax.block_until_ready(metrics)
                self._clock(step - start, time.perf_counter() - began, waited - began)
                done = step + 1
                if done % config.train.log_every == 0 or done == self.total_steps or done % self.order.steps == 0:
                    means = self.devices.first(metrics)
                    self._check_finite(state, step)
                    note = f"loss {means['loss']:.3f}"
                    self.log.write(done, {"train": {k: float(v) for k, v in means.items()}, "lr": float(rates(step))})
                progress.advance(note)
                self._save(state, done)
                if stop_asked.ask(stop.asked) or done == config.train.max_steps:
                    self._save(state, done, force=True)
                    self.checkpoints.wait()
                    raise Interrupted(f"stopped after step {done} of {self.total_steps}; the same command goes on from there")
        self.checkpoints.wait()

    def _save(self, state: TrainState, done: int, force: bool = False) -> None:
        """Evaluates and saves at an epoch's end; saves alone every train.save_every steps."""
        every = self.job.config.train.save_every
        if done % self.order.steps == 0 or done == self.total_steps:
            self._check_finite(state, done - 1)
            if fresh := done not in self.history:
                self.history[done] = self.predictor.score(state.variables(), self.splits["val"], "val")
                self.log.write(done, {"val": self.history[done]})
            scores = task_lib.headline(self.job.task, self.history[done])
            if fresh:
                logger.info("epoch %d, step %d, val: %s", done // self.order.steps, done, task_lib.as_line(scores))
            self.checkpoints.save(done, self.devices.saved(state), self.meta, next(iter(scores.values())))
        elif force or (every and done % every == 0):
            self._check_finite(state, done - 1)
            self.checkpoints.save(done, self.devices.saved(state), self.meta)

    def _check_finite(self, state: TrainState, step: int) -> None:
        """Stops a run that failed at or before `step`: the state as it was before the failing step is kept, and saved for inspection."""
        failed = int(self.devices.first(state.failed))
        if failed < 0:
            return
        ids = [self.splits["train"].records[i].id for i in self.order.at(failed)]
        host = self.devices.saved(state).replace(step=np.int32(failed), failed=np.int32(-1))
        folder = self.checkpoints.directory.parent / "non_finite"
        with Checkpoints(folder) as kept:
            kept.save(failed, host, self.meta)
        raise NonFiniteError(
            f"step {failed}: the loss or its gradient is not finite (noticed after step {step}). The state before it is in {folder}. "
            f"Its records: {', '.join(ids)}"
        )

    def _clock(self, since_start: int, took: float, waited: float) -> None:
        if since_start >= 2 * len(self.job.config.data.buckets):  # the first steps compile
            for name, value in (("steps", took), ("waiting", waited), ("count", 1.0)):
                self.seconds[name] += value

    def speed(self) -> dict[str, float]:
        """Steps and records a second after the first steps, and the share of that time spent waiting for data."""
        steps, count = self.seconds["steps"], self.seconds["count"]
        if not count:
            return {}
        rate = count / steps
        return {
            "steps_per_second": rate,
            "records_per_second": rate * self.order.batch,
            "waiting_for_data": self.seconds["waiting"] / steps,
        }


class StopSignal:
    """Turns the first SIGTERM or SIGINT into a question asked between steps; a second one acts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        try:
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # only the main thread may: elsewhere a run cannot be stopped by signals
            logger.info("not in the main thread: signals do not stop this run gracefully")
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.asked = True
        self._restore()
