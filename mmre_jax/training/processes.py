"""The processes of one run: how they find each other, and what they decide together.

What a process reads from a disk or is told by a signal may differ from what another one does. So whatever decides which collective
operation comes next is decided once, by `decided`, `together` or `AnyFlag`: processes that disagree wait for each other for ever. All of
them are to be called by every process, in the same order. Where there is one process they cost nothing.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")

FORM = "auto, off or HOST:PORT,PROCESSES,ID"
# Seconds: to find each other, which is long where a cluster starts its nodes one after the other; to be silent before one counts as dead,
# after which the others end with a message; to wait at the end for the others, of which the first writes tables and plots.
FIND, SILENCE, LEAVE = 300, 30, 300
SEEN = 60.0  # seconds within which what one process has written is to be seen by the others, on whatever disk they share
LEAST = 1024  # bytes that are handed on at once: of few sizes, since each is compiled


class ProcessError(ValueError):
    """Processes that could not be started together, or that another one stopped."""


@dataclasses.dataclass(frozen=True)
class Place:
    """One process among others. address: HOST:PORT of process 0."""

    address: str
    processes: int
    index: int


def read_place(written: str) -> Place | None:
    """The place that HOST:PORT,PROCESSES,ID names; None for 'auto' and 'off'.

    Raises:
      ProcessError: for anything else.
    """
    if written in ("auto", "off"):
        return None
    found = re.fullmatch(r"((?:\[[0-9a-fA-F:]+\]|[^\s:,\[\]]+):(\d{1,5})),(\d{1,6}),(\d{1,6})", written)
    if not found:
        raise ProcessError(f"--distributed={written} is not {FORM}, such as 10.0.0.1:1234,2,0")
    place = Place(found[1], int(found[3]), int(found[4]))
    if not 0 < int(found[2]) < 65536:
        raise ProcessError(f"--distributed={written}: a port is a number in [1, 65535], found {found[2]}")
    if place.index >= place.processes:
        raise ProcessError(f"--distributed={written}: of {place.processes} processes the ids are 0 to {place.processes - 1}")
    return place


def start(written: str, *, find: int = FIND) -> None:
    """Joins the other processes; to be called in front of everything that computes. On CPU they talk by gloo.

    Args:
      written: 'off': there are no others. 'auto': as JAX detects them (Slurm, Open MPI, TPU, Kubernetes). HOST:PORT,PROCESSES,ID: as said.
      find: seconds to wait for the others.

    Where they are not found in time the process ends with one line: JAX would end it with a page.

    Raises:
      ProcessError: where nothing is detected, or the place is taken.
    """
    place = read_place(written)
    if written == "off":
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM away from the run, which answers SIGINT, too
    limits = {"initialization_timeout": 2 * find, "heartbeat_timeout_seconds": SILENCE, "shutdown_timeout_seconds": LEAVE}
    late = threading.Timer(find, _give_up, [f"--distributed={written}: the processes have not found each other within {find} s"])
    late.daemon = True
    late.start()
    try:
        if place is None:
            jax.distributed.initialize(**limits)
        else:  # what else could be detected, such as devices of its own, is what the process sees
            jax.distributed.initialize(place.address, place.processes, place.index, cluster_detection_method="deactivate", **limits)
    except ValueError as error:
        if place is not None:
            raise
        hint = "say --distributed=HOST:PORT,PROCESSES,ID in every process, or off"
        raise ProcessError(f"--distributed=auto: JAX detects no cluster here ({error}); {hint}") from error
    except RuntimeError as error:
        raise ProcessError(f"--distributed={written}: {' '.join(str(error).split())[:300]}") from error
    finally:
        late.cancel()


def _give_up(message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def is_first() -> bool:
    """Whether this is the process that writes and speaks for all. Does not touch devices where there is one process."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def is_alone() -> bool:
    """Whether this process has no others beside it."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def is_loss(error: Exception) -> bool:
    """Whether an error that a computation raised says that another process could not be reached any more."""
    return bool(re.search(r"Gloo|NCCL|coordination service|UNAVAILABLE|Connection (reset|closed)", str(error)))


def decided(find: Callable[[], T]) -> T:
    """What `find` returns or raises in process 0, in every process; the others do not call it."""
    if jax.process_count() == 1:
        return find()
    ok, value = _tried(find) if jax.process_index() == 0 else (True, None)
    ok, value = pickle.loads(_sent(_packed(ok, value), 0))
    if ok:
        return value
    raise value


def together(do: Callable[[], T]) -> T:
    """What `do` returns in this process; if it raises in any, every process raises.

    Raises:
      ProcessError: where it was another one, naming it and what it raised.
    """
    if jax.process_count() == 1:
        return do()
    ok, value = _tried(do)
    failed = np.flatnonzero(_gathered(np.int32(not ok)))
    if not len(failed):
        return value
    said = pickle.loads(_sent(pickle.dumps("" if ok else f"{type(value).__name__}: {value}"), int(failed[0])))
    if not ok:
        raise value
    raise ProcessError(f"process {failed[0]} failed: {said}")


class AnyFlag:
    """Whether any process has raised a flag, asked again and again without waiting for the devices: an answer tells what was known one
    question ago, in every process the same. Where there is one process the answer is its own flag, at once."""

    def __init__(self) -> None:
        self._asked: Any = None
        if jax.process_count() > 1:
            devices = np.array(jax.devices())
            self._rows = NamedSharding(Mesh(devices, ("device",)), PartitionSpec("device"))
            self._any = jax.jit(lambda flags: flags.any(), out_shardings=NamedSharding(self._rows.mesh, PartitionSpec()))

    def ask(self, raised: bool) -> bool:
        """Hands in this process's flag and returns the answer to the question before this one, False for the first."""
        if jax.process_count() == 1:
            return raised
        before = self._asked
        flags = jax.make_array_from_callback((jax.device_count(),), self._rows, lambda _: np.array([raised]))
        self._asked = self._any(flags)
        return before is not None and bool(np.asarray(before.addressable_data(0)))


def whole(x: jax.Array) -> np.ndarray:
    """The whole of an array that may lie in parts in several processes, on the host of every one."""
    return np.asarray(x if x.is_fully_replicated else multihost_utils.process_allgather(x, tiled=True))


def _tried(do: Callable[[], T]) -> tuple[bool, Any]:
    try:
        return True, do()
    except Exception as error:  # noqa: BLE001  told to the other processes, and raised again
        return False, error


def _packed(ok: bool, value: Any) -> bytes:
    """As bytes; an error that cannot be sent as it is goes as a ProcessError that says the same."""
    if not ok:
        try:
            pickle.loads(pickle.dumps(value))
        except Exception:  # noqa: BLE001  whatever an error's class does wrong
            value = ProcessError(f"{type(value).__name__}: {value}")
    return pickle.dumps((ok, value))


def _sent(data: bytes, source: int) -> bytes:
    """The bytes that process `source` has."""
    mine = jax.process_index() == source
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data)), is_source=mine))
    padded = np.zeros(max(LEAST, 1 << (size - 1).bit_length()), np.uint8)
    if mine:
        padded[:size] = np.frombuffer(data, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded, is_source=mine))[:size].tobytes()


def _gathered(value: np.ndarray) -> np.ndarray:
    """Every process's value, [processes, ...]."""
    return np.asarray(multihost_utils.process_allgather(value))
