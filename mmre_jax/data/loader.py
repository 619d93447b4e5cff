"""Records to batches: which record stands where, how long the batch is, and the pipeline that delivers it.

The order of a run is a pure function of (seed, step): nothing but the step has to be saved to continue, on any number of processes,
and any step's records can be named afterwards.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from mmre_jax.data.dataset import PictureSource, RecordSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.feature_store import StoredFeatures
from mmre_jax.records import Record

Batch = Mapping[str, Any]
Features = Callable[[Record, int, Encoded | None], dict[str, Any]]


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
    """Element i of this process's stream: one example's features, pixels, index and validity."""

    order: Order
    source: RecordSource
    features: Features
    pictures: PictureSource | None
    encoded: Sequence[Encoded] | None
    picture_of: np.ndarray | None
    process: int
    processes: int
    stored: StoredFeatures | None = None

    def __call__(self, element: int) -> dict[str, Any]:
        local = self.order.batch // self.processes
        step, place = divmod(int(element), local)
        indices, lengths = self.order.epoch(step // self.order.steps)
        index = int(indices[step % self.order.steps, self.process * local + place])
        record = self.source[max(index, 0)]
        shown = self._shown(record, max(index, 0))
        # What is known of a picture goes with it: regions and caption.
        seen = dataclasses.replace(record, image=shown.image, regions=shown.regions, caption=shown.caption)
        features = self.features(seen, int(lengths[step % self.order.steps]), self._read(max(index, 0)))
        features |= {"index": np.int32(index), "valid": np.bool_(index >= 0)}
        if self.stored is not None:
            features["features"], features["present"] = self.stored[max(index, 0)]
        elif self.pictures is not None:
            features["pictures"], features["present"] = self.pictures(shown)
        return features

    def _read(self, index: int) -> Encoded | None:
        """The tokens of a record, with the caption of the picture that it is shown with."""
        if self.encoded is None or self.picture_of is None:
            return None if self.encoded is None else self.encoded[index]
        other = int(self.picture_of[index])
        return dataclasses.replace(self.encoded[index], caption=None if other < 0 else self.encoded[other].caption)

    def _shown(self, record: Record, index: int) -> Record:
        """The record whose pictures this one is shown with."""
        if self.picture_of is None:
            return record
        other = int(self.picture_of[index])
        return dataclasses.replace(record, image=None, regions=(), caption=None) if other < 0 else self.source[other]


def batches(
    order: Order,
    source: RecordSource,
    features: Features,
    pictures: PictureSource | None,
    *,
    encoded: Sequence[Encoded] | None = None,
    first: int = 0,
    last: int | None = None,
    picture_of: np.ndarray | None = None,
    stored: StoredFeatures | None = None,
    process: int = 0,
    processes: int = 1,
    workers: int = 0,
    threads: int = 1,
    ahead: int = 4,
) -> Iterator[Batch]:
    """This process's shard of the global batches of steps [first, last), as nested dicts of numpy arrays [batch / processes, ...].

    Args:
      features: (record, length, its tokens) -> model inputs and targets of one record, padded to `length` tokens, without a leading axis.
      pictures: record -> (pixels, present); None for systems without pictures.
      encoded: the tokens of every record; None leaves it to `features` to find them.
      last: one epoch if None.
      picture_of: int [N], the record whose picture each record is shown with, -1 for none (data/sampling.py); its own if None.
      stored: features and presence of the pictures that each record is shown with, in place of the pictures.
      workers: processes that prepare records; 0 prepares them in `threads` threads of this one.
      ahead: batches prepared ahead.
    """
    if order.batch % processes:
        raise ValueError(f"a batch of {order.batch} does not divide over {processes} processes")
    local = order.batch // processes
    fetch = Fetch(order, source, features, pictures, encoded, picture_of, process, processes, stored)
    last = order.steps if last is None else last
    stream = grain.MapDataset.range(first * local, last * local).map(fetch)
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain's worker processes read absl flags, which nobody parses outside app.run
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
        elements = stream.to_iter_dataset(options).mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead * local)
        )
    else:
        elements = stream.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead * local))
    return iter(elements.batch(local, drop_remainder=True))
