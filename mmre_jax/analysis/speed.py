"""How fast a configuration trains here, and where the time goes: the step alone, the loader alone, and the two together."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax import systems
from mmre_jax.analysis.peaks import peak_of
from mmre_jax.data import datasets
from mmre_jax.data.loader import Order
from mmre_jax.data.sampling import is_shuffled
from mmre_jax.training.features import asked_for, with_features
from mmre_jax.training.job import Job, new_job
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.parallel import Devices, open_devices
from mmre_jax.training.protocol import protocol, versions
from mmre_jax.training.resident import resident
from mmre_jax.training.splits import Split, batches_of, make_split, order_of, padded
from mmre_jax.training.starting import initial_state
from mmre_jax.training.state import TrainState
from mmre_jax.training.step import mapped_step

ROUNDS = 5  # dtypes take turns so often, so that a machine that slows down slows all of them
FILLED = 8  # steps of the loop that live on what was loaded ahead, and are not timed


@dataclasses.dataclass(frozen=True)
class Program:
    """A step compiled for one length. flops: of all devices. memory: bytes of one device. None where XLA does not say."""

    call: Any
    compile_seconds: float
    flops: float | None
    memory: int | None


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a run sets up before its first step, and the padded lengths int [steps] of the epochs that are looked at; `fill` as of
    `resident`."""

    job: Job
    devices: Devices | MeshDevices
    split: Split
    fill: Callable[[Any], Any]
    order: Order
    lengths: np.ndarray

    @classmethod
    def of(cls, config: ConfigDict, steps: int) -> Setup:
        """As `training.train.train` does."""
        records = datasets.open_records(config.data, "train")
        job = new_job(config, records)
        config = job.config
        split = make_split(job, records, train=True, shuffled=is_shuffled(config.data, "train"))
        devices = open_devices(config.parallel)
        job = padded(job, split)
        order = order_of(job, split)
        lengths = np.concatenate([order.epoch(epoch)[1] for epoch in range(-(-steps // order.steps))])
        return cls(job, devices, *resident(job, split, devices), order, lengths)

    def stream(self, first: int, last: int) -> Iterator[Any]:
        """The batches of steps [first, last), on the host."""
        return batches_of(self.job, self.order, self.split, first, last)

    def examples(self) -> dict[int, Any]:
        """A real batch, on the devices, of every length that occurs."""
        firsts = {int(length): int(np.argmax(self.lengths == length)) for length in np.unique(self.lengths)}
        return {length: self.fill(self.devices.shard(next(self.stream(step, step + 1)))) for length, step in firsts.items()}


class Trainer:
    """The training step of a run in one dtype, with a state of its own that it moves on."""

    def __init__(self, setup: Setup, dtype: str, start: TrainState, examples: Mapping[int, Any]) -> None:
        config, devices = _with_dtype(setup.job.config, dtype), setup.devices
        task = setup.job.task
        system = systems.build(config, vocab_size=task.encoder.vocab_size, labels=task.labels)
        job = dataclasses.replace(setup.job, config=config, system=system)
        mapped, self._key = mapped_step(job, devices, start, setup.order.steps * config.train.epochs)
        self.dtype = dtype
        self.state = devices.replicate(start)
        self.programs = {
            length: _compile(mapped, (self.state, batch, self._key), devices.count, counted=config.optim.accumulate == 1)
            for length, batch in examples.items()
        }

    def run(self, batch: Any) -> Any:
        """One step. Returns its metrics, which on CPU are there already, as in the real loop."""
        self.state, metrics = self.programs[length_of(batch, self.programs)].call(self.state, batch, self._key)
        return jax.block_until_ready(metrics) if jax.default_backend() == "cpu" else metrics

    def seconds(self, batch: Any, steps: int) -> float:
        """Seconds a step takes, over `steps` of them on the same batch."""
        began = time.perf_counter()
        for _ in range(steps):
            metrics = self.run(batch)
        jax.block_until_ready(metrics)
        return (time.perf_counter() - began) / steps


def length_of(batch: Any, lengths: Iterable[int]) -> int:
    """The padded length of a batch; of one without words, the only one of `lengths`."""
    return batch["text"]["ids"].shape[-1] if "text" in batch else next(iter(lengths))


def measure(config: ConfigDict, *, dtypes: Sequence[str] = (), steps: int = 50, peak_tflops: float | None = None) -> dict[str, Any]:
    """Times a configuration's training on this process's devices. Compilations are real: no cache is used unless JAX was told to.

    Args:
      dtypes: values of train.dtype, timed in turns in this one run; the configuration's own if empty.
      steps: timed steps per length and dtype, batches of the loader alone, and steps of the loop.
      peak_tflops: what one device could do, whatever the dtype; by its name (see analysis/peaks.py) if None.

    Returns:
      Plain JSON values:
      about: what ran where.
      steps: per dtype and length tokens: share (of an epoch's steps), seconds (of a step, median over rounds), steps_per_second,
        samples_per_second, flops (of a step on all devices, from XLA's cost analysis of the compiled step), gflops_per_second,
        utilisation, compile_seconds, memory_mib (of one device); None where unknown.
      epoch: per dtype the same over all steps of an epoch, and all compile seconds.
      loader: samples_per_second without training, of a first pass and of a second one over the same records.
      loop: per dtype steps_per_second and samples_per_second of loader and step together; waiting, the share of time in which the host
        waited for data; lost, the share by which the loop takes longer than its steps alone.
      ratios: per length and for the epoch, how many times faster each further dtype is than the first; low and high over the rounds.

    Raises:
      ValueError: fewer than 2 steps, or an unknown dtype.
    """
    if steps < 2:
        raise ValueError(f"at least 2 steps are needed to time anything, found {steps}")
    names = tuple(dict.fromkeys(dtypes)) or (config.train.dtype,)
    if unknown := set(names) - set(systems.DTYPES):
        raise ValueError(f"dtypes are {', '.join(systems.DTYPES)}, found {', '.join(sorted(unknown))}")
    setup = Setup.of(config, steps)
    start = initial_state(setup.job, setup.split, setup.order.steps * config.train.epochs)
    if asked_for(config.data) and names != (config.train.dtype,):
        raise ValueError(f"data.features=cache: features are kept in train.dtype={config.train.dtype}, which alone can be timed with them")
    setup = dataclasses.replace(setup, split=with_features(setup.job, {"train": setup.split}, start.variables())["train"])
    loader = {"first_pass": _loader_rate(setup, steps), "second_pass": _loader_rate(setup, steps)}
    examples = setup.examples()
    trainers = [Trainer(setup, name, start, examples) for name in names]
    rounds = {length: _in_turns(trainers, batch, steps) for length, batch in examples.items()}
    shares = {length: float(np.mean(setup.lengths == length)) for length in examples}
    rows = [_step_row(setup, trainer, length, shares[length], rounds[length], peak_tflops) for trainer in trainers for length in examples]
    return {
        "about": _about(setup, steps, names, peak_tflops),
        "steps": rows,
        "epoch": [_epoch_row(setup, [row for row in rows if row["dtype"] == name], peak_tflops) for name in names],
        "loader": {f"samples_per_second_{name}": rate for name, rate in loader.items()},
        "loop": [_loop_row(setup, trainer, steps, [row for row in rows if row["dtype"] == trainer.dtype]) for trainer in trainers],
        "ratios": _ratios(names, rounds, shares),
    }


def _with_dtype(config: ConfigDict, dtype: str) -> ConfigDict:
    config = ConfigDict(copy.deepcopy(config.to_dict()))
    config.train.dtype = dtype
    return config.lock()


def _compile(mapped: Any, arguments: tuple[Any, ...], devices: int, counted: bool) -> Program:
    began = time.perf_counter()
    compiled = mapped.lower(*arguments).compile()
    seconds = time.perf_counter() - began
    flops = (compiled.cost_analysis() or {}).get("flops", 0.0)
    return Program(compiled, seconds, flops * devices if counted and flops > 0 else None, _memory(compiled.memory_analysis()))


def _memory(stats: Any) -> int | None:
    """The most bytes a program holds at once on a device: what XLA says, or arguments, results and temporaries together."""
    if stats is None:
        return None
    whole = stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes + stats.temp_size_in_bytes
    return int(getattr(stats, "peak_memory_in_bytes", 0) or whole)


def _loader_rate(setup: Setup, steps: int) -> float:
    """Samples a second of the loader alone, from the first batch's arrival to the last one's: workers take seconds to start and to end."""
    stream = setup.stream(0, steps)
    next(stream)
    began = time.perf_counter()
    for _ in range(steps - 1):
        next(stream)
    seconds = time.perf_counter() - began
    next(stream, None)  # lets worker processes end by themselves
    return (steps - 1) * setup.order.batch / seconds


def _in_turns(trainers: Sequence[Trainer], batch: Any, steps: int) -> dict[str, list[float]]:
    """Seconds a step, for each dtype one number a round; every other round runs in reverse order."""
    rounds = min(ROUNDS, steps)
    found: dict[str, list[float]] = {trainer.dtype: [] for trainer in trainers}
    for trainer in trainers:
        trainer.seconds(batch, 2)
    for number in range(rounds):
        for trainer in trainers if number % 2 == 0 else trainers[::-1]:
            found[trainer.dtype].append(trainer.seconds(batch, steps // rounds))
    return found


def _rates(setup: Setup, dtype: str, seconds: float, flops: float | None, peak: float | None) -> dict[str, Any]:
    """What follows from the seconds and flops of one step."""
    peak = peak_of(setup.devices.local[0].device_kind, dtype) if peak is None else peak
    speed = None if flops is None else flops / seconds / 1e9
    return {
        "seconds": seconds,
        "steps_per_second": 1 / seconds,
        "samples_per_second": setup.order.batch / seconds,
        "flops": flops,
        "gflops_per_second": speed,
        "utilisation": None if speed is None or peak is None else speed / (1e3 * peak * setup.devices.count),
    }


def _step_row(
    setup: Setup, trainer: Trainer, length: int, share: float, rounds: Mapping[str, list[float]], peak: float | None
) -> dict[str, Any]:
    program, seconds = trainer.programs[length], float(np.median(rounds[trainer.dtype]))
    return {
        "dtype": trainer.dtype,
        "tokens": length,
        "share": share,
        **_rates(setup, trainer.dtype, seconds, program.flops, peak),
        "compile_seconds": program.compile_seconds,
        "memory_mib": None if program.memory is None else program.memory / 2**20,
    }


def _epoch_row(setup: Setup, rows: Sequence[Mapping[str, Any]], peak: float | None) -> dict[str, Any]:
    """The rows of one dtype, averaged over an epoch's steps."""
    seconds = sum(row["share"] * row["seconds"] for row in rows)
    flops = None if any(row["flops"] is None for row in rows) else sum(row["share"] * row["flops"] for row in rows)
    known = [row["memory_mib"] for row in rows if row["memory_mib"] is not None]
    return {
        "dtype": rows[0]["dtype"],
        "tokens": "epoch",
        "share": 1.0,
        **_rates(setup, rows[0]["dtype"], seconds, flops, peak),
        "compile_seconds": sum(row["compile_seconds"] for row in rows),
        "memory_mib": max(known, default=None),
    }


def _loop_row(setup: Setup, trainer: Trainer, steps: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The real loop, less its first steps; `rows` are what its steps take alone."""
    alone = {row["tokens"]: row["seconds"] for row in rows}
    filled = min(FILLED, steps // 2)
    stream = map(setup.fill, setup.devices.prefetch(setup.stream(0, steps)))
    for _ in range(filled):
        jax.block_until_ready(trainer.run(next(stream)))
    waiting = expected = 0.0
    began = time.perf_counter()
    for _ in range(steps - filled):
        asked = time.perf_counter()
        batch = next(stream)
        waiting += time.perf_counter() - asked
        metrics = trainer.run(batch)
        expected += alone[length_of(batch, alone)]
    jax.block_until_ready(metrics)
    seconds = time.perf_counter() - began
    next(stream, None)
    rate = (steps - filled) / seconds
    return {
        "dtype": trainer.dtype,
        "steps_per_second": rate,
        "samples_per_second": rate * setup.order.batch,
        "waiting": waiting / seconds,
        "lost": max(0.0, 1 - expected / seconds),
    }


def _ratios(names: Sequence[str], rounds: Mapping[int, Mapping[str, list[float]]], shares: Mapping[int, float]) -> list[dict[str, Any]]:
    seconds: dict[int | str, dict[str, Any]] = {length: {name: np.array(found[name]) for name in names} for length, found in rounds.items()}
    seconds["epoch"] = {name: sum(shares[length] * seconds[length][name] for length in rounds) for name in names}
    times = {(name, length): taken[names[0]] / taken[name] for name in names[1:] for length, taken in seconds.items()}
    return [
        {"dtype": name, "tokens": length, "times": float(np.median(x)), "low": float(x.min()), "high": float(x.max())}
        for (name, length), x in times.items()
    ]


def _about(setup: Setup, steps: int, names: Sequence[str], peak: float | None) -> dict[str, Any]:
    config, device = setup.job.config, setup.devices.local[0]
    return {
        "system": config.system.name,
        **protocol(config),
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "devices": setup.devices.count,
        "batch": setup.order.batch,
        "epoch_steps": setup.order.steps,
        "steps": steps,
        "dtypes": list(names),
        "peak_tflops_per_device": {name: peak_of(device.device_kind, name) if peak is None else peak for name in names},
        "versions": versions(),
    }
