"""How functions of one device's shard are mapped over devices: pmap with replicated parameters, or a mesh (training/mesh.py).

Nothing else knows which: `Devices` and `MeshDevices` are used alike, and so are `Replicated` and `Sharded`, which say how parameters lie.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmre_jax.losses import PMAP_AXIS
from mmre_jax.training.mesh import MeshDevices, Sharded, mesh_devices
from mmre_jax.training.state import TrainState

AXIS = PMAP_AXIS


@dataclasses.dataclass(frozen=True)
class Replicated:
    """Parameters that are whole on every device, as the code of one device needs it; `Sharded` has the same for those that are not."""

    axis: str = AXIS

    def gather(self, variables: Any) -> Any:
        """Variables with whole parameters."""
        return variables

    def regathering(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        """`loss`: there is nothing to gather."""
        return loss

    def sum(self, gradients: Any) -> Any:
        """The gradients of the global batch, from one device's shares."""
        # Of one device it is no work, but on a CPU a copy of them all.
        return gradients if jax.lax.axis_size(self.axis) == 1 else jax.lax.psum(gradients, self.axis)

    def norm(self, gradients: Any) -> jax.Array:
        """The Euclidean norm of gradients."""
        return optax.tree.norm(gradients)


Layout: TypeAlias = Replicated | Sharded


@dataclasses.dataclass(frozen=True)
class Devices:
    """This process's devices."""

    local: tuple[jax.Device, ...]

    @property
    def count(self) -> int:
        """Devices over all processes."""
        return len(self.local) * jax.process_count()

    @property
    def everywhere(self) -> list[jax.Device]:
        """The devices of all processes, of each as many as of this one, in the order of the shards of a batch."""
        own = len(self.local)
        if jax.process_count() == 1:
            return list(self.local)
        return [device for process in range(jax.process_count()) for device in jax.local_devices(process)[:own]]

    def layout(self, variables: Any) -> Replicated:
        """How parameters lie on the devices."""
        return Replicated()

    def map(
        self, fn: Callable[..., Any], donate: tuple[int, ...] = (), *, takes: tuple[str, ...] = (), gives: tuple[str, ...] | str = ()
    ) -> Callable[..., Any]:
        """`fn` on every device, each with its shard of every argument, collectives over AXIS; compiled once per shape.

        Args:
          takes, gives: what `MeshDevices.map` needs to know; here everything has a leading device axis.
        """
        return jax.pmap(fn, axis_name=AXIS, devices=self.everywhere, donate_argnums=donate)

    def replicate(self, tree: Any) -> Any:
        """A copy of the tree on every device: leaves gain a leading device axis."""
        return self._put(jax.tree.map(lambda x: np.broadcast_to(np.asarray(x)[None], (len(self.local), *np.shape(x))), tree))

    def first(self, tree: Any) -> Any:
        """The first device's copy of a replicated tree, on the host."""
        return jax.tree.map(lambda x: np.asarray(x.addressable_shards[0].data)[0], tree)

    def abstract(self, tree: Any) -> Any:
        """Shapes of a TrainState or of variables as a checkpoint is to be read: whole, on the host."""
        return tree

    def saved(self, state: TrainState) -> TrainState:
        """What a checkpoint is made of: a copy on the host."""
        return self.first(state)

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
      ValueError: if there are fewer, or for a number below 0.
    """
    found = jax.local_devices()
    if not 0 <= limit <= len(found):
        raise ValueError(f"parallel.devices={limit}, but this process has {len(found)}")
    return Devices(tuple(found[: limit or None]))


def open_devices(parallel: Any) -> Devices | MeshDevices:
    """The devices that section `parallel` of a configuration names, mapped as it says.

    Raises:
      ValueError: if there are fewer, or another number than the mesh has places.
    """
    if parallel.mapping == "pmap":
        return local_devices(parallel.devices)
    return mesh_devices(parallel.devices, parallel.mesh.data, parallel.mesh.fsdp)
