"""Records to batches: which record stands where, how long the batch is, and the pipeline that delivers it.

The order of a run is a pure function of (seed, step): nothing but the step has to be saved to continue, on any number of processes,
and any step's records can be named afterwards.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

Batch = Mapping[str, Any]


def cores() -> int:
    """Cores that this process may use: all that there are, where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
    """Which records stand in which step, and to how many tokens that step is padded.

    lengths: tokens of every record, int [N].  batch: records of a global batch.  buckets: allowed padded lengths, ascending.
    train: shuffled by (seed, epoch), a remainder that fills no batch is left for other epochs; else every record exactly once, sorted by
      length, the last batch filled up with -1.
    window: batches within which a shuffled epoch is sorted by length before the batches are shuffled again (1: not at all); fewer
      padded tokens for slightly less random batches.
    """

    lengths: np.ndarray
    batch: int
    buckets: tuple[int, ...]
    train: bool
    seed: int = 0
    window: int = 1

    def __post_init__(self) -> None:
        if self.train and len(self.lengths) < self.batch:
            raise ValueError(f"{len(self.lengths)} training records do not fill one batch of {self.batch}: lower train.batch")
        longest = int(self.lengths.max(initial=0))
        if longest > self.buckets[-1]:
            raise ValueError(f"a record has {longest} tokens, more than the largest length bucket {self.buckets[-1]}")

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return len(self.lengths) // self.batch if self.train else -(-len(self.lengths) // self.batch)

    @functools.lru_cache(maxsize=2)  # noqa: B019  an order lives as long as its run
    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Record indices int [steps, batch] and padded lengths int [steps] of an epoch."""
        count = self.steps * self.batch
        if self.train:
            rng = np.random.default_rng((self.seed, epoch))
            order = rng.permutation(len(self.lengths))[:count]
            span = self.window * self.batch
            for start in range(0, count if self.window > 1 else 0, span):
                part = order[start : start + span]
                order[start : start + span] = part[np.argsort(self.lengths[part], kind="stable")]
            indices = order.reshape(self.steps, self.batch)
            if self.window > 1:
                indices = rng.permutation(indices, axis=0)
        else:
            order = np.full(count, -1)
            order[: len(self.lengths)] = np.argsort(self.lengths, kind="stable")
            indices = order.reshape(self.steps, self.batch)
        longest = np.where(indices >= 0, self.lengths[indices], 0).max(axis=1, initial=0)
        return indices, np.array(self.buckets)[np.searchsorted(self.buckets, longest)]

    def at(self, step: int) -> np.ndarray:
        """Record indices int [batch] of a global step (counted over epochs)."""
        return self.epoch(step // self.steps)[0][step % self.steps]


@dataclasses.dataclass(frozen=True, eq=False)
class Fetch:
    """This process's part of a step's batch, with index and validity of its records."""

    order: Order
    examples: Callable[[np.ndarray, int], dict[str, Any]]
    process: int
    processes: int

    def __call__(self, step: int) -> dict[str, Any]:
        local = self.order.batch // self.processes
        indices, lengths = self.order.epoch(int(step) // self.order.steps)
        place = int(step) % self.order.steps
        own = indices[place, self.process * local :][:local]
        batch = self.examples(np.maximum(own, 0), int(lengths[place]))  # a row that fills up the batch holds the first example
        return {**batch, "index": own.astype(np.int32), "valid": own >= 0}


def batches(
    order: Order,
    examples: Callable[[np.ndarray, int], dict[str, Any]],
    *,
    first: int = 0,
    last: int | None = None,
    process: int = 0,
    processes: int = 1,
    workers: int = 0,
    threads: int = 1,
    ahead: int = 4,
) -> Iterator[Batch]:
    """This process's shard of the global batches of steps [first, last), as nested dicts of numpy arrays [batch / processes, ...].

    Args:
      examples: (which, int [B]; length) -> a batch of them, padded to `length` tokens, such as an examples.Examples.
      last: one epoch if None.
      workers: processes that make batches; 0 makes them in `threads` threads of this one.
      ahead: batches prepared ahead, of each worker or thread at least one.
    """
    if order.batch % processes:
        raise ValueError(f"a batch of {order.batch} does not divide over {processes} processes")
    last = order.steps if last is None else last
    fetch = Fetch(order, examples, process, processes)
    if not workers:
        return _in_threads(fetch, range(first, last), threads, ahead)
    import grain  # slow to import
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain's worker processes read absl flags, which nobody parses outside app.run
    elements = grain.MapDataset.range(first, last).map(fetch).to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
    return iter(elements.mp_prefetch(grain.MultiprocessingOptions(workers, per_worker_buffer_size=max(1, ahead // workers))))


def _in_threads(fetch: Fetch, steps: Iterable[int], threads: int, ahead: int) -> Iterator[Batch]:
    """The batches of some steps, in order. Not grain's threads: a gathered batch takes 2 ms, and they as long again."""
    with concurrent.futures.ThreadPoolExecutor(threads, "loader") as pool:
        waiting: collections.deque[concurrent.futures.Future[dict[str, Any]]] = collections.deque()
        try:
            for step in steps:
                waiting.append(pool.submit(fetch, step))
                if len(waiting) > max(ahead, threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
