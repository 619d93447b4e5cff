"""Predictions of examples that come one after the other: some are looked ahead at, sorted by length, and put into batches of few shapes."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from mmre_jax.data.lengths import MOST, STEP, buckets_of
from mmre_jax.data.loader import Batch
from mmre_jax.data.split import Split
from mmre_jax.tasks import WORDLESS
from mmre_jax.tasks.task import Found
from mmre_jax.training.evaluate import Predictor
from mmre_jax.training.job import Job, sample

FEW = 16  # examples of the batch between one alone and train.eval_batch: those of one post, or the rest of many
AHEAD = 4  # full batches that are looked ahead at and sorted
TIMES = 4  # batches of the smaller size are made of a rest, up to so many; of a larger rest one of the next size, not quite filled


@dataclasses.dataclass(frozen=True)
class BatchShapes:
    """All shapes of batches that there are; each is compiled once.

    sizes: examples of a batch, ascending: one, few, and train.eval_batch.  lengths: tokens they are padded to, ascending.
    """

    sizes: tuple[int, ...]
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, job: Job, devices: int) -> BatchShapes:
        """Those of a job; every size divides over the devices. The lengths are data.buckets, or MOST even ones where it names none."""
        config = job.config
        sizes = {-(-size // devices) * devices for size in (1, FEW, config.train.eval_batch) if size <= config.train.eval_batch}
        longest = config.text.max_tokens
        even = itertools.accumulate(itertools.repeat(-(-longest // MOST // STEP) * STEP, MOST))
        lengths = tuple(config.data.buckets) or tuple(dict.fromkeys(min(length, longest) for length in even))  # positions may end there
        if config.task.name in WORDLESS:
            lengths = buckets_of(config)[:1]
        return cls(tuple(sorted(sizes)), lengths)

    @property
    def ahead(self) -> int:
        """Examples that are looked ahead at."""
        return AHEAD * self.sizes[-1]

    def batches(self, lengths: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Examples of these lengths, int [N], as batches: which of them stand in its rows, int [b], -1 in a row that fills it up, and to
        how many tokens it is padded."""
        order, found = np.argsort(lengths, kind="stable"), []
        while len(order):
            size = self._size(len(order))
            rows = np.full(size, -1)
            rows[: len(order)] = order[:size]
            order = order[size:]
            found.append((rows, self.lengths[int(np.searchsorted(self.lengths, lengths[rows[rows >= 0]].max()))]))
        return found

    def _size(self, rest: int) -> int:
        """How many rows the next batch has, of `rest` examples that are left."""
        for smaller, larger in itertools.pairwise(self.sizes):
            if rest <= TIMES * smaller and rest < larger:
                return smaller
        return self.sizes[-1]


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """Some examples, and the batches they are predicted in, as `BatchShapes.batches` gives them."""

    split: Split
    batches: Sequence[tuple[np.ndarray, int]]

    def __iter__(self) -> Iterator[Batch]:
        """The batches, on the host."""
        for rows, length in self.batches:
            yield {**self.split(np.maximum(rows, 0), length), "index": rows.astype(np.int32), "valid": rows >= 0}


def predict(predictor: Predictor, variables: Any, windows: Iterable[Window]) -> Iterator[list[Found]]:
    """What the predictor's task decodes for every example of each window, in their order.

    A window is asked for before the one before it is begun, so that its pictures are read meanwhile.

    Args:
      variables: on the devices, as `replicate` puts them.
    """
    running: collections.deque[Split] = collections.deque()  # of each batch that was sent

    def batches() -> Iterator[Batch]:
        for window in _one_ahead(windows):
            for batch in window:
                running.append(window.split)
                yield batch

    found: dict[int, Found] = {}
    for outputs in predictor.outputs(variables, batches()):
        split = running.popleft()
        for row in np.flatnonzero(outputs["valid"]):
            index = int(outputs["index"][row])
            own = {name: value[row] for name, value in outputs.items()}
            found[index] = predictor.job.task.decode(own, split.records[index], split.encoded[index])
        if len(found) == len(split.records):
            yield [found[index] for index in range(len(found))]
            found = {}


def _one_ahead(windows: Iterable[Window]) -> Iterator[Window]:
    last: Window | None = None
    for window in windows:
        if last is not None:
            yield last
        last = window
    if last is not None:
        yield last


def warm(predictor: Predictor, variables: Any, shapes: BatchShapes) -> None:
    """Compiles the prediction of every shape, so that none is waited for later."""
    for length in shapes.lengths:
        one = sample(predictor.job, length)
        for size in shapes.sizes:
            batch = jax.tree.map(lambda x, size=size: np.repeat(x, size, axis=0), one)
            jax.block_until_ready(predictor.step(variables, predictor.devices.shard(batch)))
