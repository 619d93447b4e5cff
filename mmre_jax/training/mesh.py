"""The same steps over a named mesh {data, fsdp}: parameters and optimiser state in parts, one on each device along `fsdp`.

A batch is split over all devices. Where parameters are used they are gathered; their gradients leave the devices summed and in parts again
(Rajbhandari et al. 2020, ZeRO stage 3; Zhao et al. 2023, FSDP). `shard_map` is fully manual: a partly manual one has no host callbacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mmre_jax.losses import MESH_AXES
from mmre_jax.training import processes
from mmre_jax.training.state import TrainState

DATA, FSDP = AXES = MESH_AXES
WHOLE = -1  # instead of an axis: the array is whole on every device
LEAST = 1024  # elements of an array that is split; of a smaller one nothing is saved
# What the backward pass computes again rather than keeps: whole parameters, and what is only another form of them.
AGAIN = {"all_gather", "convert_element_type", "transpose", "reshape", "broadcast_in_dim", "squeeze"}


@dataclasses.dataclass(frozen=True)
class Sharded:
    """How the parameters of a system lie on the mesh, as the code of one device needs it.

    axes: {part: tree of int}, the axis along which each array is split over FSDP, or WHOLE.
    """

    axes: Mapping[str, Any]
    axis: tuple[str, ...] = AXES

    def gather(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Variables with whole parameters, from those of one device. Its transpose sums gradients over FSDP and splits them."""

        def whole(x: jax.Array, axis: int) -> jax.Array:
            return x if axis == WHOLE else jax.lax.all_gather(x, FSDP, axis=axis, tiled=True)

        parts = {part: jax.tree.map(whole, tree, self.axes[part]) for part, tree in variables["params"].items()}
        return {**variables, "params": parts}

    def regathering(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        """`loss`, whose backward pass gathers the parameters again, so that they need not be kept whole until then."""
        if all(axis == WHOLE for axis in jax.tree.leaves(self.axes)):
            return loss
        return jax.checkpoint(loss, policy=lambda primitive, *_, **__: primitive.name not in AGAIN)

    def sum(self, gradients: Mapping[str, Any]) -> dict[str, Any]:
        """The gradients of the global batch, split as the parameters, from one device's shares."""

        def total(x: jax.Array, axis: int) -> jax.Array:
            return jax.lax.psum(x, AXES if axis == WHOLE else DATA)

        return {part: jax.tree.map(total, tree, self.axes[part]) for part, tree in gradients.items()}

    def norm(self, gradients: Mapping[str, Any]) -> jax.Array:
        """The Euclidean norm of gradients that are split as the parameters."""
        split = whole = jnp.zeros((), jnp.float32)
        for part, tree in gradients.items():
            for x, axis in zip(jax.tree.leaves(tree), jax.tree.leaves(self.axes[part]), strict=True):
                square = jnp.sum(jnp.square(x.astype(jnp.float32)))
                split, whole = (split, whole + square) if axis == WHOLE else (split + square, whole)
        return jnp.sqrt(whole + jax.lax.psum(split, FSDP))


@dataclasses.dataclass(frozen=True)
class MeshDevices:
    """Devices of all processes as a mesh {data, fsdp}, each process's one after the other. Arrays are global.

    least: elements of the smallest array that is split.
    """

    mesh: Mesh
    least: int = LEAST

    @property
    def local(self) -> tuple[jax.Device, ...]:
        """This process's devices."""
        return tuple(device for device in self.mesh.devices.flat if device.process_index == jax.process_index())

    @property
    def count(self) -> int:
        """Devices over all processes."""
        return int(self.mesh.size)

    def layout(self, variables: Mapping[str, Any]) -> Sharded:
        """How these variables, as arrays or shapes, lie on the mesh."""
        return Sharded({part: jax.tree.map(self._axis, tree) for part, tree in variables["params"].items()})

    def map(
        self, fn: Callable[..., Any], donate: tuple[int, ...] = (), *, takes: tuple[str, ...], gives: tuple[str, ...] | str
    ) -> Callable[..., Any]:
        """`fn` on every device, collectives over AXES; compiled once per shape.

        Args:
          takes: of each argument 'state' (a TrainState or variables, handed over as they lie), 'variables' (handed over whole), 'records'
            (split over all devices along its first axis), or 'same' (alike everywhere).
          gives: of each result, or of the only one, the same; 'state' lies as the first argument does.
        """

        def mapped(*arguments: Any) -> Any:
            specs = tuple(self._specs(kind, argument) for kind, argument in zip(takes, arguments, strict=True))
            layouts = [self.layout(argument) if kind == "variables" else None for kind, argument in zip(takes, arguments, strict=True)]

            def of_device(*own: Any) -> Any:
                return fn(*(x if layout is None else layout.gather(x) for x, layout in zip(own, layouts, strict=True)))

            results = {"state": specs[0], "records": P(AXES), "same": P()}
            out = results[gives] if isinstance(gives, str) else tuple(results[kind] for kind in gives)
            return jax.shard_map(of_device, mesh=self.mesh, in_specs=specs, out_specs=out, check_vma=False)(*arguments)

        return jax.jit(mapped, donate_argnums=donate)

    def replicate(self, tree: Any) -> Any:
        """On the devices: a TrainState or variables in parts, anything else whole on each. What lies so already stays."""
        return jax.tree.map(self._put, tree, self._specs("state", tree))

    def abstract(self, tree: Any) -> Any:
        """Shapes of a TrainState or of variables, which say how their arrays are to lie."""

        def shape(x: Any, spec: P) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(self.mesh, spec))

        return jax.tree.map(shape, tree, self._specs("state", tree))

    def saved(self, state: TrainState) -> TrainState:
        """What a checkpoint is made of: each process writes its parts."""
        return state

    def first(self, tree: Any) -> Any:
        """A tree's whole arrays on the host, in every process."""
        return jax.tree.map(processes.whole, tree)

    collect = first  # the outputs of all devices of all processes, in order: [global batch, ...]

    def shard(self, batch: Any) -> Any:
        """The global batch, from a process's own part of it [b, ...].

        Raises:
          ValueError: if that does not divide over its devices.
        """
        sharding, devices = NamedSharding(self.mesh, P(AXES)), len(self.local)
        for x in jax.tree.leaves(batch):
            if len(x) % devices:
                raise ValueError(f"a batch of {len(x)} records does not divide over {devices} devices")
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch)

    def prefetch(self, batches: Iterable[Any], ahead: int = 2) -> Iterator[Any]:
        """Batches on the devices, `ahead` of them sent before the first is asked for."""
        waiting: list[Any] = []
        for batch in batches:
            waiting.append(self.shard(batch))
            if len(waiting) > ahead:
                yield waiting.pop(0)
        yield from waiting

    def _axis(self, x: Any) -> int:
        """The longest axis that divides over FSDP; WHOLE for a small array and where none does."""
        size = self.mesh.shape[FSDP]
        fits = [axis for axis, length in enumerate(x.shape) if length % size == 0]
        return max(fits, key=lambda axis: (x.shape[axis], -axis)) if size > 1 and fits and np.prod(x.shape) >= self.least else WHOLE

    def _spec(self, x: Any) -> P:
        axis = self._axis(x)
        return P() if axis == WHOLE else P(*[None] * axis, FSDP)

    def _specs(self, kind: str, tree: Any) -> Any:
        """A PartitionSpec for each array of an argument."""
        if kind == "records":
            return jax.tree.map(lambda _: P(AXES), tree)
        if kind == "same" or not isinstance(tree, TrainState) and not (isinstance(tree, Mapping) and "params" in tree):
            return jax.tree.map(lambda _: P(), tree)
        names = [field.name for field in dataclasses.fields(tree)] if isinstance(tree, TrainState) else list(tree)
        parts = {name: getattr(tree, name) if isinstance(tree, TrainState) else tree[name] for name in names}
        split = ("params", "frozen", "opt_state")
        specs = {name: jax.tree.map(self._spec if name in split else lambda _: P(), part) for name, part in parts.items()}
        return tree.replace(**specs) if isinstance(tree, TrainState) else specs

    def _put(self, x: Any, spec: P) -> jax.Array:
        sharding = NamedSharding(self.mesh, spec)
        if isinstance(x, jax.Array) and x.sharding.is_equivalent_to(sharding, x.ndim):
            return x
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])


def mesh_devices(limit: int = 0, data: int = 0, fsdp: int = 1, *, least: int = LEAST) -> MeshDevices:
    """The first `limit` devices of each process, or all of them for 0, as a mesh.

    Args:
      data: how many groups of devices hold all parameters between them; 0: as many as there are devices for.
      fsdp: devices of such a group.
      least: elements of the smallest array that is split.

    Raises:
      ValueError: if there are fewer devices, or another number than the mesh has places.
    """
    found: list[jax.Device] = []
    for process in range(jax.process_count()):
        own = sorted((device for device in jax.devices() if device.process_index == process), key=lambda device: device.id)
        if limit > len(own):
            raise ValueError(f"parallel.devices={limit}, but process {process} has {len(own)}")
        found += own[: limit or None]
    groups = data or len(found) // fsdp
    if groups * fsdp != len(found):
        raise ValueError(f"parallel.mesh: data={data or 'as many as fit'} times fsdp={fsdp} are not the {len(found)} devices there are")
    return MeshDevices(Mesh(np.array(found).reshape(groups, fsdp), AXES), least)
