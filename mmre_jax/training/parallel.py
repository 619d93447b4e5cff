"""How functions of one device's shard are mapped over devices: the only place that knows. Today: pmap, replicated parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"


@dataclasses.dataclass(frozen=True)
class Devices:
    """This process's devices."""

    local: tuple[jax.Device, ...]

    @property
    def count(self) -> int:
        """Devices over all processes."""
        return len(self.local) * jax.process_count()

    def map(self, fn: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """`fn` on every device, each with its shard of every argument, collectives over AXIS; compiled once per shape."""
        return jax.pmap(fn, axis_name=AXIS, devices=list(self.local) if jax.process_count() == 1 else None, donate_argnums=donate)

    def replicate(self, tree: Any) -> Any:
        """A copy of the tree on every device: leaves gain a leading device axis."""
        return self._put(jax.tree.map(lambda x: np.broadcast_to(np.asarray(x)[None], (len(self.local), *np.shape(x))), tree))

    def first(self, tree: Any) -> Any:
        """The first device's copy of a replicated tree, on the host."""
        return jax.tree.map(lambda x: np.asarray(x.addressable_shards[0].data)[0], tree)

    def shard(self, batch: Any) -> Any:
        """A process's batch [b, ...] split over its devices: [devices, b / devices, ...].

        Raises:
          ValueError: if the batch does not divide.
        """
        return self._put(jax.tree.map(self._split, batch))

    def _split(self, x: np.ndarray) -> np.ndarray:
        if len(x) % len(self.local):
            raise ValueError(f"a batch of {len(x)} records does not divide over {len(self.local)} devices")
        return x.reshape(len(self.local), -1, *x.shape[1:])

    def _put(self, tree: Any) -> Any:
        if jax.process_count() > 1:
            return tree  # pmap places it
        sharding = NamedSharding(Mesh(np.array(self.local), (AXIS,)), PartitionSpec(AXIS))
        return jax.device_put(tree, sharding)

    def collect(self, tree: Any) -> Any:
        """All devices' outputs [devices, b, ...] of all processes on the host, in order: [global batch, ...]."""
        local = jax.tree.map(lambda x: np.concatenate([np.asarray(s.data)[0] for s in x.addressable_shards]), tree)
        if jax.process_count() == 1:
            return local
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), multihost_utils.process_allgather(local))

    def prefetch(self, batches: Iterable[Any], ahead: int = 2) -> Iterator[Any]:
        """Batches on the devices, `ahead` of them sent before the first is asked for."""
        waiting: list[Any] = []
        for batch in batches:
            waiting.append(self.shard(batch))
            if len(waiting) > ahead:
                yield waiting.pop(0)
        yield from waiting


def local_devices(limit: int = 0) -> Devices:
    """The first `limit` local devices, or all of them for 0.

    Raises:
      ValueError: if there are fewer.
    """
    found = jax.local_devices()
    if limit > len(found):
        raise ValueError(f"parallel.devices={limit}, but this process has {len(found)}")
    return Devices(tuple(found[: limit or None]))
