"""The process in which a tree of this library is measured: it answers lines (lines.py). Run by `TREE_PROGRAM`, in any tree's folder."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmre_jax import systems
from mmre_jax.analysis import speed
from mmre_jax.analysis.speed import Setup
from mmre_jax.benchmark.case import Case, Timed
from mmre_jax.benchmark.lines import answer
from mmre_jax.text_files import read_text
from mmre_jax.training.protocol import versions

PEAK_SIDE = {"cpu": 2048}  # of square matrices; elsewhere 8192


class Worker:
    """What is open in this process: one configuration's step, prediction and update."""

    def __init__(self) -> None:
        self.case: Case | None = None
        self.timed: dict[str, Timed | Loader] = {}
        self.clock = CallbackClock()

    def about(self) -> dict[str, Any]:
        """What runs where."""
        device = jax.local_devices()[0]
        return {
            "versions": versions(),
            "library": str(pathlib.Path(systems.__file__).parents[1]),
            "backend": jax.default_backend(),
            "device": device.device_kind,
            "threads": len(os.sched_getaffinity(0)),
            "subnormals": subnormals(),
        }

    def open(self, config: str, changes: dict[str, Any], **sizes: Any) -> dict[str, Any]:
        """Opens a configuration, FILE:VARIANT with changes by dotted names, at sizes as of `Case.of`. What was open is closed."""
        self.close()
        self.case = Case.of(load_config(config, changes), **sizes)
        return self.case.about()

    def compile(self, what: str) -> dict[str, Any]:
        """Compiles 'step', 'infer', 'update' or 'adamw': see `Case.compile`."""
        assert self.case is not None, "nothing is open"
        self.timed[what], told = self.case.compile(what)
        return told

    def time(self, what: str, calls: int = 1) -> float:
        """Seconds a call, over `calls` of them."""
        return self.timed[what].seconds(calls)

    def write(self, folder: str, kind: str) -> None:
        """Leaves weights in the authors' names and the batch there, as weights.safetensors and batch.npz."""
        assert self.case is not None, "nothing is open"
        self.case.write(pathlib.Path(folder), kind)

    def logits(self, file: str) -> None:
        """Leaves the logits of the batch there."""
        assert self.case is not None, "nothing is open"
        np.save(file, self.case.logits())

    def close(self) -> None:
        """Frees what is open."""
        self.case, self.timed = None, {}
        tidy()

    def forget_peak(self) -> None:
        """From now on the peak of memory is counted anew."""
        tidy()
        forget_peak()

    def peak_mib(self) -> float:
        """The most memory in use since then, MiB: the device's where it tells, else this process's resident memory."""
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in stats else peak_rss_mib()

    def matmul_gflops(self, dtype: str) -> float:
        """GFLOP/s of square products, the best of ten."""
        side = PEAK_SIDE.get(jax.default_backend(), 8192)
        x = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(dtype))
        product = jax.jit(jnp.matmul)
        best = min(_seconds_of(product, x) for _ in range(11))
        return 2 * side**3 / best / 1e9

    def open_loader(self, config: str, changes: dict[str, Any], steps: int) -> dict[str, int]:
        """Makes ready to time, as 'loader', the records of a configuration with its data: passes over the same `steps` batches."""
        self.close()
        setup = Setup.of(load_config(config, changes), steps)
        self.timed["loader"] = Loader(setup, steps)
        return {"records": len(setup.split.records), "batch": setup.order.batch}

    def speed(self, config: str, changes: dict[str, Any], steps: int) -> dict[str, Any]:
        """`analysis.speed.measure` of a configuration with its data."""
        self.close()
        return speed.measure(load_config(config, changes), steps=steps)

    def callback_seconds(self) -> float:
        """Seconds that the host's callbacks have taken since this was last asked."""
        return self.clock.read()


class Loader:
    """The loader alone."""

    def __init__(self, setup: Setup, steps: int) -> None:
        self.setup, self.steps = setup, steps

    def seconds(self, calls: int) -> float:
        """Seconds a record, from the first batch's arrival to the last one's, over `calls` passes."""
        return float(np.mean([loader_seconds(self.setup, self.steps) for _ in range(calls)]))


class CallbackClock:
    """Counts the seconds in which the host computes what a program asks it for (`jax.pure_callback`)."""

    def __init__(self) -> None:
        self._seconds = 0.0
        plain = jax.pure_callback

        def timed(callback: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            def called(*values: Any, **named: Any) -> Any:
                began = time.perf_counter()
                try:
                    return callback(*values, **named)
                finally:
                    self._seconds += time.perf_counter() - began

            return plain(called, *arguments, **options)

        jax.pure_callback = timed

    def read(self) -> float:
        """The seconds since the last reading."""
        found, self._seconds = self._seconds, 0.0
        return found


def load_config(name: str, changes: dict[str, Any]) -> ConfigDict:
    """The configuration FILE:VARIANT with changes by dotted names, locked. Lists become tuples, as configurations have them."""
    path, _, variant = name.rpartition(":")
    spec = importlib.util.spec_from_file_location("benchmarked_config", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(variant).copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict({k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()})
    return config.lock()


def loader_seconds(setup: Setup, steps: int) -> float:
    """Seconds a record, from the first batch's arrival to the last one's."""
    stream = setup.stream(0, steps)
    next(stream)
    began = time.perf_counter()
    for _ in range(steps - 1):
        next(stream)
    seconds = time.perf_counter() - began
    next(stream, None)  # lets worker processes end by themselves
    return seconds / ((steps - 1) * setup.order.batch)


def subnormals() -> str:
    """What the device does with numbers below the least normal one: 'flushed' or 'kept'."""
    tiny = np.full(1 << 16, 1e-39, np.float32)
    return "kept" if np.asarray(jax.jit(lambda x: x * 1.5)(tiny)).view(np.uint32).any() else "flushed"


def tidy() -> None:
    """Gives memory that nothing holds back to the system."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except OSError:  # another C library
        return


def forget_peak() -> None:
    """Lets Linux count the peak of resident memory anew."""
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_rss_mib() -> float:
    """The peak of this process's resident memory, MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", read_text("/proc/self/status"))
    assert found is not None
    return int(found[1]) / 1024


def _seconds_of(function: Any, x: jax.Array) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function(x, x))
    return time.perf_counter() - began


def main() -> None:
    """Answers until nobody asks."""
    worker = Worker()
    names = ("about", "open", "compile", "time", "write", "logits", "close", "forget_peak", "peak_mib", "matmul_gflops")
    names += ("open_loader", "speed", "callback_seconds")
    answer({name: getattr(worker, name) for name in names})


if __name__ == "__main__":
    main()
