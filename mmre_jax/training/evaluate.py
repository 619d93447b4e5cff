"""Predictions of a whole split on all devices, every record exactly once, and the scores of a split."""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.loader import Batch, Order
from mmre_jax.progress import track
from mmre_jax.systems.system import TOLD
from mmre_jax.tasks.task import Found, Outputs
from mmre_jax.training import processes
from mmre_jax.training.interrupt import Interrupted
from mmre_jax.training.job import Job
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.parallel import Devices
from mmre_jax.training.splits import Split, batches_of
from mmre_jax.training.step import make_predict_step, precise

Stopping = Callable[[], bool]
AHEAD = 4  # batches that devices have before them while the host decodes, or traces the step for the next length
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What was decoded for one example, whether the system saw any picture of it, and the outputs that were decoded, empty if not kept."""

    found: Found
    seen: bool
    outputs: Outputs


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A compiled prediction step: one compilation serves all evaluations of a run."""

    job: Job
    devices: Devices | MeshDevices
    step: Callable[[Any, Any], dict[str, jax.Array]]

    @property
    def batch(self) -> int:
        """Records of a batch: train.eval_batch, or the next number that divides over the devices."""
        return -(-self.job.config.train.eval_batch // self.devices.count) * self.devices.count

    def predict(
        self,
        variables: Any,
        split: Split,
        progress: str = "",
        *,
        keep: bool = False,
        decode: bool = True,
        stopping: Stopping | None = None,
    ) -> list[Predicted]:
        """What the task decodes for every record of a split, in the split's order.

        Args:
          variables: on the devices, as `replicate` puts them.
          progress: name under which progress is shown; it is not where empty.
          keep: whether to keep the outputs, which the task's metrics want; they can be far larger than what is decoded from them.
          decode: False in a process that only lends its devices to the others; nothing is returned.
          stopping: asked in front of each batch whether to stop, in all processes alike.

        Raises:
          Interrupted: where it was to stop.
        """
        config = self.job.config
        if not len(split.records):
            return []
        order = Order(split.lengths, self.batch, buckets_of(config), train=False)
        stream = batches_of(self.job, order, split)
        found: dict[int, Predicted] = {}
        for outputs in self.outputs(variables, stream, progress, order.steps, stopping, ahead=AHEAD):
            for row in np.flatnonzero(outputs["valid"]) if decode else ():
                index = int(outputs["index"][row])
                own = {k: v[row] for k, v in outputs.items()}
                decoded = self.job.task.decode(own, split.records[index], split.encoded[index])
                found[index] = Predicted(decoded, bool(own["seen"]), own if keep else {})
        return [found[index] for index in range(len(split.records))] if decode else []

    def outputs(
        self,
        variables: Any,
        stream: Iterator[Batch],
        progress: str = "",
        steps: int = 0,
        stopping: Stopping | None = None,
        *,
        ahead: int = 1,
    ) -> Iterator[dict[str, np.ndarray]]:
        """The outputs of each batch on the host, while the devices are busy with the next `ahead` ones. steps: how many batches there are,
        for `progress`."""
        running: collections.deque[dict[str, jax.Array]] = collections.deque()
        for shard in track(self.devices.prefetch(stream), progress, steps, unit="batch", leave=False):
            if stopping is not None and stopping():
                raise Interrupted("stopped while a split was scored; the same command goes on from there")
            running.append(self.step(variables, shard))
            if len(running) > ahead:
                yield self.devices.collect(running.popleft())
        while running:
            yield self.devices.collect(running.popleft())

    def score(self, variables: Any, split: Split, progress: str = "", *, stopping: Stopping | None = None) -> dict[str, Any]:
        """The task's metrics of a split, and what the system tells beside; of several processes the first decodes, once for all.
        stopping: as `predict`."""
        predicted = self.predict(variables, split, progress, keep=True, decode=processes.is_first(), stopping=stopping)
        found, outputs = [p.found for p in predicted], [p.outputs for p in predicted]
        return processes.decided(lambda: {**self.job.task.metrics(split.records, found, outputs, split.encoded), **told(outputs)})


def told(outputs: Sequence[Outputs]) -> dict[str, dict[str, float]]:
    """{"told": {name: mean over records}} of what a system tells of every record (`systems.system.TOLD`); {} where it tells nothing."""
    names = [name for name in (outputs[0] if outputs else ()) if name.startswith(TOLD)]
    means = {name.removeprefix(TOLD): float(np.mean([own[name] for own in outputs])) for name in names}
    return {"told": means} if means else {}


def make_predictor(job: Job, devices: Devices | MeshDevices) -> Predictor:
    """A predictor on these devices."""
    step = precise(make_predict_step(job.system), job.config.train.precision)
    return Predictor(job, devices, devices.map(step, takes=("variables", "records"), gives="records"))
