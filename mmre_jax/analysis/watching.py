"""What a network computes on its way for each record of a split: attention weights, hidden states, expert weights, by module path.

Networks sow them as the Flax collection "intermediates", which costs nothing where nobody looks. Here they come batch by batch; what a
caller picks of them is part of the compiled program, so that nothing else is computed or leaves the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.loader import Batch, Order
from mmre_jax.progress import track
from mmre_jax.records import Record
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.training.job import Job, sample, shapes
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.parallel import Devices
from mmre_jax.training.splits import Split, batches_of
from mmre_jax.training.step import precise

Arrays = Mapping[str, jax.Array]  # {module path: [B, ...]}
Pick = Callable[[Arrays, Batch], Any]  # traced by JAX; a tree of arrays [B, ...]

MOST = 32  # records of a batch: of a BERT and a ViT of base size all weights of attention take some 300 MB


@dataclasses.dataclass(frozen=True)
class Watched:
    """The records of one batch, without those that fill it up.

    records: B of them.  index: int [B], their places in the split.
    prediction: what the system predicts of each, {name: [B, ...]}.
    picked: the tree that `pick` made, on the host, arrays [B, ...].
    """

    records: tuple[Record, ...]
    index: np.ndarray
    prediction: Mapping[str, np.ndarray]
    picked: Any

    def each(self) -> Iterator[Watched]:
        """The same record by record, B being 1."""
        for n, record in enumerate(self.records):
            own = jax.tree.map(lambda x, n=n: x[n : n + 1], (self.index, self.prediction, self.picked))
            yield Watched((record,), *own)


def sown_shapes(job: Job) -> dict[str, tuple[int, ...]]:
    """{module path: shape for one short record} of all that a job's network sows; nothing is computed.

    Raises:
      ValueError: for a system that is not a Flax module under an objective.
    """
    batch = sample(job)
    found = jax.eval_shape(lambda variables: _sown(job, variables, batch)[1], shapes(job))
    return {name: array.shape for name, array in found.items()}


def watch(
    job: Job, devices: Devices | MeshDevices, variables: Any, split: Split, pick: Pick, progress: str = "", *, most: int = MOST
) -> Iterator[Watched]:
    """Runs a job's network over a split and yields what `pick` made of what was sown, in batches of records of like length.

    Args:
      variables: on the devices, as `replicate` puts them.
      pick: from ({module path: array [B, ...]}, the batch as the loader makes it) to a tree of arrays [B, ...]. A path is that of the
        module and the name of what it sows, such as 'vision/layer_3/attention/attention'; what is sown there n > 1 times, as an encoder's
        hidden states are, is 'vision/hidden/0' to 'vision/hidden/n-1'.
      progress: name under which progress is shown; it is not where empty.
      most: records of a batch.

    Raises:
      ValueError: for a system that is not a Flax module under an objective.
    """
    if not len(split.records):
        return
    config = job.config
    wanted = min(most, config.train.eval_batch, len(split.records))
    order = Order(split.lengths, -(-wanted // devices.count) * devices.count, buckets_of(config), train=False)

    def step(variables: Any, batch: Batch) -> dict[str, Any]:
        prediction, sown = _sown(job, variables, batch)
        picked = jax.tree.map(_plain_float, pick(sown, batch))
        return {"index": batch["index"], "valid": batch["valid"], "prediction": prediction, "picked": picked}

    mapped = devices.map(precise(step, config.train.precision), takes=("variables", "records"), gives="records")
    stream = batches_of(job, order, split)
    for shard in track(devices.prefetch(stream), progress, order.steps, unit="batch", leave=False):
        found = devices.collect(mapped(variables, shard))
        there = np.flatnonzero(found["valid"])
        own = jax.tree.map(lambda x, there=there: x[there], found)
        yield Watched(tuple(split.records[int(i)] for i in own["index"]), own["index"], own["prediction"], own["picked"])


def first(tree: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What arrays [B, ...] hold of the first record."""
    return {name: array[0] for name, array in tree.items()}


def chosen(split: Split, places: Sequence[int]) -> Split:
    """The records of a split at some places, in that order, as it shows them: each with its own picture, or none where it hides it."""
    picture_of = None
    if split.picture_of is not None:
        picture_of = np.where(split.picture_of[list(places)] < 0, -1, np.arange(len(places)))
    records, encoded = ([values[place] for place in places] for values in (split.records, split.encoded))
    return dataclasses.replace(split, records=records, encoded=encoded, picture_of=picture_of)


def _sown(job: Job, variables: Any, batch: Batch) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """(predictions of a batch, {module path: what was sown there})."""
    system = job.system
    if not isinstance(system, ModuleSystem):
        raise ValueError(f"a system of type {type(system).__name__} has no Flax module to look into")
    outputs, state = system.net.apply(variables, *system.inputs(batch), train=False, mutable=["intermediates"])
    arrays = {}
    for path, found in traverse_util.flatten_dict(state.get("intermediates", {}), sep="/").items():
        arrays |= {path: found[0]} if len(found) == 1 else {f"{path}/{n}": array for n, array in enumerate(found)}
    return system.objective.predict(outputs, batch), arrays


def _plain_float(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x
