"""The training step of a configuration, compiled for chips that are not here, and what its compiler and arithmetic say of it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import math
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from mmre_jax.data.lengths import buckets_of
from mmre_jax.planning import bounds, hlo, program
from mmre_jax.planning.chips import KNOWN, PlanError, Topology, read_mesh, read_topology
from mmre_jax.planning.stand_in import StandIn, stand_in
from mmre_jax.training import features
from mmre_jax.training.job import Job, sample, shapes
from mmre_jax.training.log import write_text
from mmre_jax.training.mesh import AXES, MeshDevices
from mmre_jax.training.parameters import count
from mmre_jax.training.protocol import protocol, versions
from mmre_jax.training.starting import state_of
from mmre_jax.training.state import TrainState
from mmre_jax.training.step import mapped_step

# What libtpu would ask and warn of, on a machine that is no TPU's: the topology's name alone decides. Several plans may be made at once.
SILENCE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
STEPS = 1000  # of the whole run: the schedule's constants, on which nothing here depends


@dataclasses.dataclass(frozen=True)
class DevicesElsewhere(MeshDevices):
    """A mesh of devices that are not here. What would be put on them is described instead."""

    def replicate(self, tree: Any) -> Any:
        """Shapes of what would be on the devices, which say how it would lie there."""
        return self.abstract(tree)

    def shard(self, batch: Any) -> Any:
        """The same of a global batch."""
        sharding = NamedSharding(self.mesh, PartitionSpec(AXES))
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), batch)


def plan(
    config: ConfigDict,
    topology: str,
    *,
    mesh: str = "",
    per_chip: int = 0,
    tokens: int = 0,
    labels: int = 0,
    vocabulary: int = 0,
    written: pathlib.Path | None = None,
) -> dict[str, Any]:
    """Compiles a configuration's training step for a slice of TPUs, or lowers it for GPUs, and says what that tells.

    The step is the one that training maps over its devices, under the mapping 'mesh'; with fsdp=1 that computes what 'pmap' does.

    Args:
      topology: see chips.KNOWN.
      mesh: DATA,FSDP; '' for parallel.mesh, where the configuration has that mapping, else all chips along data.
      per_chip: records a chip where train.batch does not divide over the chips; 0: that is an error.
      tokens: padded length, one of data.buckets; 0: the largest.
      labels, vocabulary: see stand_in.
      written: where the compiled program is to be written, as text of HLO.

    Returns:
      Plain JSON values:
      about: what was planned, for what; batch with the records of a chip and why it is not train.batch, if so; assumed, a phrase each.
      parameters: as training/parameters.py counts them.
      memory: bytes of one chip: parameters, optimiser, other (the batch, statistics, counters), padding (by which the compiler's layout is
        larger), results (that replace no argument), temporaries (activations and what is computed on the way), program; total, hbm, fits.
        For GPUs only the first three: no memory analysis without one. What does not fit is not compiled, and the compiler says why: says.
      flops: of one chip in a step. products: of matrix products and convolutions in the traced program, loops as often as they run;
        compiler: of everything in the compiled one, a loop once; while_loops, whose number of turns nobody knows beforehand.
      callbacks: of the host, in a step.
      collectives: as hlo.Collective, of the compiled program (for GPUs of the traced one); loops_of_unknown_length around them.
      moved: bytes of one chip that are read and written, what is trained and its optimiser's state; accessed: what the compiler counts as
        read and written, what stays on the chip included, and accessed_steps_per_second, if all of that came from HBM; None for GPUs.
      bounds: bounds.Bound rows for this number of chips and bounds.SIZES, of each chip that the topology may be made of.
      seconds: trace, lower, compile.

    Raises:
      PlanError: for a topology, mesh or batch that cannot be; without the compiler; for GPUs where the step calls the host.
      ValueError, WeightError: as `stand_in`.
    """
    found = read_topology(topology)
    data, fsdp = read_mesh(mesh or _mesh_of(config), found.count)
    made = stand_in(config, labels=labels, vocabulary=vocabulary)
    config = made.job.config
    batch, why = _batch(config, found.count, per_chip)
    length = _length(config, tokens)
    devices = _devices(found, data, fsdp)
    arguments, mapped = _step(made.job, devices, batch, length)
    state = arguments[0]

    began = time.perf_counter()
    traced = mapped.trace(*arguments)
    seconds = {"trace": time.perf_counter() - began}
    read = program.read(traced.jaxpr, {"data": data, "fsdp": fsdp})
    sizes = _sizes(state, arguments[1:])
    if found.platform == "cuda":
        told = _lowered(traced, sizes, read, seconds)
    else:
        told = _compiled(traced, found, fsdp, sizes, seconds, written)
    collectives, accessed = told.pop("collectives", read.collectives), told.pop("accessed", None)
    moved = 2 * sum(map(_share, jax.tree.leaves((state.params, state.opt_state))))
    work = bounds.Work(read.flops, moved, collectives, found.count, fsdp, batch // found.count)
    return {
        "about": _about(made, found, (data, fsdp), batch, why, length),
        "parameters": count(state, config.optim),
        "flops": {"products": read.flops, "while_loops": read.while_loops, "compiler": told.pop("flops", None)},
        "callbacks": read.callbacks,
        "collectives": [dataclasses.asdict(row) for row in collectives],
        "loops_of_unknown_length": told.pop("vague", 0),
        "moved": moved,
        "accessed": accessed,
        "accessed_steps_per_second": found.chips[0].bandwidth / accessed if accessed else None,
        **told,
        "bounds": _bounds(work, found, config),
        "seconds": seconds,
        "versions": versions(),
    }


def _mesh_of(config: ConfigDict) -> str:
    chosen = config.parallel.mesh if config.parallel.mapping == "mesh" else ConfigDict({"data": 0, "fsdp": 1})
    return f"{chosen.data},{chosen.fsdp}"


def _batch(config: ConfigDict, chips: int, per_chip: int) -> tuple[int, str]:
    """(records a step, why it is not train.batch)."""
    batch, parts = config.train.batch, config.optim.accumulate
    if batch % (chips * parts) == 0:
        return batch, ""
    among = f"{chips} chips" + (f", each in optim.accumulate={parts} parts" if parts > 1 else "")
    if not per_chip:
        raise PlanError(f"train.batch={batch} does not divide over {among}: give --config.train.batch, or --per-chip=N")
    if per_chip % parts:
        raise PlanError(f"--per-chip={per_chip} does not divide into optim.accumulate={parts} parts")
    return per_chip * chips, f"train.batch={batch} does not divide over {among}"


def _length(config: ConfigDict, tokens: int) -> int | None:
    """The padded length of a batch; None for a task without words."""
    if config.task.name == "objects":
        if tokens:
            raise PlanError("--tokens: task 'objects' reads no words")
        return None
    if tokens and tokens not in (buckets := buckets_of(config)):
        raise PlanError(f"--tokens={tokens} is none of data.buckets={buckets}")
    return tokens or buckets_of(config)[-1]


def _devices(topology: Topology, data: int, fsdp: int) -> DevicesElsewhere:
    if topology.platform == "cuda":
        return DevicesElsewhere(AbstractMesh((data, fsdp), AXES, axis_types=(AxisType.Auto, AxisType.Auto)))
    if importlib.util.find_spec("libtpu") is None:
        raise PlanError(f"--topology={topology.name} needs the compiler of TPUs, which is not installed: pip install 'mmre_jax[tpu]'")
    for name, value in SILENCE.items():
        os.environ.setdefault(name, value)
    try:
        cores = {"chip_config_name": name} if (name := topology.chips[0].cores) else {}
        found = topologies.get_topology_desc(topology.name, "tpu", **cores).devices
    except (RuntimeError, ValueError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:200]
        raise PlanError(f"--topology={topology.name}: the compiler knows no such slice ({said}); known are {KNOWN}") from error
    if len(found) != topology.count:
        raise PlanError(f"--topology={topology.name}: the compiler has {len(found)} devices for these {topology.count} chips")
    return DevicesElsewhere(Mesh(np.array(found).reshape(data, fsdp), AXES))


def _step(job: Job, devices: DevicesElsewhere, batch: int, length: int | None) -> tuple[tuple[Any, ...], Any]:
    """(the step's arguments, state, batch and key, as shapes on the devices; the step)."""
    state = jax.eval_shape(lambda variables: state_of(job, variables, STEPS), shapes(job))
    mapped, key = mapped_step(job, devices, state, STEPS)
    example = features.as_kept(job, sample(job, length))
    records = jax.tree.map(lambda x: jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype), example)
    return (devices.abstract(state), devices.shard(records), key), mapped


def _sizes(state: TrainState, others: Sequence[Any]) -> dict[str, int]:
    """Bytes of one chip, by their shapes alone."""
    rest = (state.step, state.failed, state.stats, others)
    parts = {"parameters": (state.params, state.frozen), "optimiser": state.opt_state, "other": rest}
    return {name: sum(map(_share, jax.tree.leaves(tree))) for name, tree in parts.items()}


def _share(x: Any) -> int:
    """Bytes of an array on one device."""
    axes = [axis for part in x.sharding.spec if part is not None for axis in (part if isinstance(part, tuple) else (part,))]
    return math.prod(x.shape) * x.dtype.itemsize // math.prod(x.sharding.mesh.shape[axis] for axis in axes)


def _compiled(
    traced: Any, topology: Topology, fsdp: int, sizes: Mapping[str, int], seconds: dict[str, float], written: pathlib.Path | None
) -> dict[str, Any]:
    """What the compiler of TPUs says: memory, flops, accessed, collectives, vague. Where it runs out of memory, that alone."""
    began = time.perf_counter()
    lowered = traced.lower()
    seconds["lower"] = time.perf_counter() - began
    chip = topology.chips[0]
    began = time.perf_counter()
    try:
        with _anew():
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        seconds["compile"] = time.perf_counter() - began
        if (says := out_of_memory(str(error))) is None:
            raise
        return {"memory": {**sizes, "hbm": chip.hbm, "fits": False, "says": says}}
    seconds["compile"] = time.perf_counter() - began
    stats, costs = compiled.memory_analysis(), compiled.cost_analysis()
    text = compiled.as_text()
    if written is not None:
        write_text(written, text)
    rows, vague = hlo.collectives(text, chips=topology.count, fsdp=fsdp)
    memory = {
        **sizes,
        "padding": stats.argument_size_in_bytes - sum(sizes.values()),
        "results": stats.output_size_in_bytes - stats.alias_size_in_bytes,
        "temporaries": stats.temp_size_in_bytes,
        "program": stats.generated_code_size_in_bytes,
    }
    total = sum(memory.values())
    return {
        "memory": {**memory, "total": total, "hbm": chip.hbm, "fits": True, "says": ""},
        "flops": costs.get("flops"),
        "accessed": costs.get("bytes accessed"),
        "collectives": rows,
        "vague": vague,
    }


@contextlib.contextmanager
def _anew() -> Iterator[None]:
    """Compiles without JAX's cache, from which a program for chips that are not here cannot be read."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # it asks once whether it is on
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def out_of_memory(message: str) -> str | None:
    """The line in which the compiler says that a program is too large for the chip's memory; None for another error."""
    if "RESOURCE_EXHAUSTED:" not in message:
        return None
    return message.partition("RESOURCE_EXHAUSTED:")[2].strip().partition("\n")[0][:300]


def _lowered(traced: Any, sizes: Mapping[str, int], read: program.Program, seconds: dict[str, float]) -> dict[str, Any]:
    """Lowers for GPUs. What only their compiler knows is left out."""
    if read.callbacks:
        raise PlanError(
            "a step that calls the host cannot be lowered for GPUs from here: QEOT matches on the device with --config.system.matcher=optax"
        )
    began = time.perf_counter()
    traced.lower(lowering_platforms=("cuda",))
    seconds["lower"] = time.perf_counter() - began
    return {"memory": {**sizes, "hbm": None, "fits": None, "says": ""}}


def _about(made: StandIn, topology: Topology, mesh: tuple[int, int], batch: int, why: str, length: int | None) -> dict[str, Any]:
    config = made.job.config
    return {
        "system": config.system.name,
        **protocol(config),
        "dtype": config.train.dtype,
        "remat": config.train.remat,
        "accumulate": config.optim.accumulate,
        "topology": topology.name,
        "platform": topology.platform,
        "chips": topology.count,
        "mesh": dict(zip(AXES, mesh, strict=True)),
        "batch": batch,
        "per_chip": batch // topology.count,
        "batch_is_not_train_batch": why,
        "tokens": length,
        "assumed": list(made.assumed),
    }


def _bounds(work: bounds.Work, topology: Topology, config: ConfigDict) -> list[dict[str, Any]]:
    rows = []
    for chip in topology.chips:
        flops = chip.flops(config.train.dtype, config.train.precision)
        for chips in sorted({topology.count, *bounds.SIZES}):
            if (row := bounds.bound(work, chip, chips, flops)) is not None:
                rows.append(dataclasses.asdict(row))
    return rows
