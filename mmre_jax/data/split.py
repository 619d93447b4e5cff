"""A split as a run is shown it, as arrays: what a system reads and learns of its text, made once for all examples, and their pictures.

Any batch is then a gather of rows, and of pictures too where they are stored in arrays (source.PictureTable).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mmre_jax.data.dataset import PictureSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.feature_store import STATES, StoredFeatures, StoredStates
from mmre_jax.data.source import PictureTable, PreparedPictures
from mmre_jax.records import Record

Inputs = Callable[[Record, int, Encoded | None], dict[str, Any]]


class Table:
    """Trees of arrays, one for each of N examples, of which any batch is cut, however long it is padded.

    Padding goes behind: what an example's tree is at a length begins with what it is at a shorter one. So the table holds all at one more
    than the longest example's length, where the last column is padding for each, and which axis is padded shows by comparing two lengths.

    Args:
      tree: (number of the example, length) -> its tree.
      count: N, at least 1.
      longest: the longest example's length.
    """

    def __init__(self, tree: Callable[[int, int], dict[str, Any]], count: int, longest: int) -> None:
        found = [tree(n, longest + 1) for n in range(count)]
        self._axes = jax.tree.map(_padded, found[0], tree(0, longest + 2))
        self._arrays = jax.tree.map(lambda *rows: np.stack(rows), *found)
        self._longest = longest

    def __call__(self, examples: np.ndarray, length: int) -> dict[str, Any]:
        """The trees of these examples, int [B], padded to `length`, which none of them exceeds: one tree of arrays [B, ...]."""
        columns = np.minimum(np.arange(length), self._longest)

        def cut(array: np.ndarray, axis: int) -> np.ndarray:
            own = array[examples]
            return own.take(columns, axis) if axis else own

        return jax.tree.map(cut, self._arrays, self._axes)


def _padded(shorter: Any, longer: Any) -> int:
    """Of arrays [N, ...] of which these are rows at two lengths, the axis that is padded; 0 if none is."""
    axes = [axis for axis, (a, b) in enumerate(zip(np.shape(shorter), np.shape(longer), strict=True), 1) if a != b]
    if len(axes) > 1:
        raise ValueError(f"inputs have one axis that is padded at most, found shapes {np.shape(shorter)} and {np.shape(longer)}")
    return axes[0] if axes else 0


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """A split's examples: records, their tokens, what is made of both, where their pictures are, and whose they are shown with.

    records: N of them.
    encoded: the tokens of each.
    inputs: (record, length, its tokens) -> model inputs and targets of one record, padded to `length` tokens, no leading axis; see Table.
    pictures: record -> (pixels, present); None for systems without pictures.
    picture_of: int [N], the record whose picture each record is shown with, -1 for none (data/sampling.py); its own if None.
    features: of the pictures that each record is shown with, and which of them are there: read in place of pictures (training/features.py).
    states: of the text of each record, read beside its ids (training/features.py).
    resident: where the pictures are in arrays that the step has already (training/resident.py); None where batches bring them.
    """

    records: Sequence[Record]
    encoded: Sequence[Encoded]
    inputs: Inputs
    pictures: PictureSource | None
    picture_of: np.ndarray | None = None
    features: StoredFeatures | None = None
    states: StoredStates | None = None
    resident: PictureTable | None = None

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, int64 [N]."""
        return np.array([len(encoded) for encoded in self.encoded], np.int64)

    @functools.cached_property
    def table(self) -> Table:
        """What the system reads and learns of the text of all examples."""
        return Table(self._inputs, len(self.records), int(self.lengths.max()))

    @functools.cached_property
    def gather(self) -> PictureTable | None:
        """(pixels, present) of the pictures of records, int [B], -1 for none; None where they come record by record."""
        return self.pictures.table(self.records) if self.features is None and isinstance(self.pictures, PreparedPictures) else None

    def prepare(self) -> None:
        """Makes the tables, which batches would otherwise wait for, each thread by itself."""
        _ = self.table, self.gather

    def __call__(self, examples: np.ndarray, length: int) -> dict[str, Any]:
        """A batch of these examples, int [B]: inputs and targets, padded to `length` tokens; where the system sees pictures, present and
        these, or their features, or with `resident` their rows alone."""
        shown = examples if self.picture_of is None else self.picture_of[examples]
        batch = self.table(examples, length)
        if self.states is not None:
            batch["text"] = {**batch["text"], STATES: self.states(examples, length)}
        if self.features is not None:
            batch["features"], batch["present"] = self.features[examples]
        elif self.resident is not None:
            batch["rows"] = self.resident.rows_of(shown)
        elif self.gather is not None:
            batch["pictures"], batch["present"] = self.gather(shown)
        elif self.pictures is not None:
            each = [self.pictures(self._shown(n)) for n in examples.tolist()]
            batch["pictures"], batch["present"] = jax.tree.map(lambda *rows: np.stack(rows), *each)
        return batch

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes: with the tables, and without what they were made of."""
        self.prepare()
        return {**self.__dict__, "inputs": None, "encoded": ()}

    def _inputs(self, index: int, length: int) -> dict[str, Any]:
        record, shown, encoded = self.records[index], self._shown(index), self.encoded[index]
        if self.picture_of is None:
            return self.inputs(record, length, encoded)
        other = int(self.picture_of[index])
        encoded = dataclasses.replace(encoded, caption=None if other < 0 else self.encoded[other].caption)
        # What is known of a picture goes with it: regions and caption.
        seen = dataclasses.replace(record, image=shown.image, regions=shown.regions, caption=shown.caption)
        return self.inputs(seen, length, encoded)

    def _shown(self, index: int) -> Record:
        """The record whose pictures this one is shown with."""
        record = self.records[index]
        if self.picture_of is None:
            return record
        other = int(self.picture_of[index])
        return dataclasses.replace(record, image=None, regions=(), caption=None) if other < 0 else self.records[other]
