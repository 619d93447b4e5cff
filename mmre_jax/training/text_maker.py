"""Makes the states of texts that no run has made yet (features.py), and finds those that are there.

A text is known again by its ids and markers, whatever it is padded to; the folder's name stands for the rest, as of pictures
(feature_maker.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax.data.encoded import Encoded
from mmre_jax.data.feature_store import STATES, Entry, FeatureStore, StoredStates, told
from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.loader import Order, batches
from mmre_jax.data.split import Split
from mmre_jax.progress import Progress
from mmre_jax.records import Record
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.training.feature_maker import folder_of, known_by
from mmre_jax.training.job import Job, sample
from mmre_jax.training.step import precise

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class TextMaker:
    """What makes the states of a job's texts. read: a batch's text -> states [B, K, D] or [B, L, D]."""

    job: Job
    system: ModuleSystem
    store: FeatureStore
    read: Callable[[Mapping[str, np.ndarray]], Any]

    @classmethod
    def of(cls, job: Job, system: ModuleSystem, own: Mapping[str, Any], data: ConfigDict) -> TextMaker:
        """Args: own: the encoder's variables, on the host. data: as of `with_features`."""
        program = jax.jit(precise(system.states, job.config.train.precision))
        one = sample(job, job.config.text.max_tokens)["text"]
        made_of, name = known_by(job, own, program.lower(own, one))
        states = jax.eval_shape(program, own, one)
        store = FeatureStore(folder_of(data) / name, {STATES: (str(states.dtype), states.shape[2:])}, made_of)
        on_device = jax.device_put(own)
        return cls(job, system, store, lambda text: program(on_device, text))

    def keys(self, split: Split) -> list[str]:
        """The key of each example's text."""
        return [_key(encoded) for encoded in split.encoded]

    def tell(self, splits: Mapping[str, Split], keys: Mapping[str, list[str]]) -> None:
        """Says how much there is, and how much of it is not there yet, before any of it is computed."""
        self.store.make()
        wanted = self._wanted(splits, keys)
        missing, rows = wanted.keys() - self.store.index().keys(), sum(map(self._rows, wanted.values()))
        logger.info(
            "features: %s texts, %s of %s, %s in %s; %s of them are not there yet",
            *(f"{len(wanted):,}", f"{rows:,} states", told(self.store.row.itemsize), told(rows * self.store.row.itemsize)),
            *(self.store.folder, f"{len(missing):,}"),
        )

    def fill(self, splits: Mapping[str, Split], keys: Mapping[str, list[str]]) -> None:
        """Computes what is not there yet."""
        self.store.make()
        wanted = self._wanted(splits, keys)
        if not wanted.keys() - self.store.index().keys():
            return
        with self.store.adding() as adder:
            missing = [key for key in wanted if key not in adder.index]
            if not missing:  # another run has just added them
                return
            encoded = [wanted[key] for key in missing]
            self.store.check_room(sum(map(self._rows, encoded)))
            records = {key: record for name, found in keys.items() for key, record in zip(found, splits[name].records, strict=True)}
            split = Split([records[key] for key in missing], encoded, self._text, None)
            order = Order(split.lengths, int(self.job.config.train.eval_batch), buckets_of(self.job.config), train=False)
            with Progress("features", order.steps, unit="batch") as progress:
                for batch in batches(order, split):
                    index = batch["index"][batch["valid"]]
                    states, rows = np.asarray(self.read(batch["text"]))[batch["valid"]], [self._rows(encoded[n]) for n in index]
                    own = np.concatenate([state[:count] for state, count in zip(states, rows, strict=True)])
                    adder.add_texts([missing[n] for n in index], rows, {STATES: own})
                    progress.advance()

    def stored(self, keys: list[str], index: Mapping[str, Entry]) -> StoredStates:
        """The states of a split's texts."""
        found = [index[key] for key in keys]
        first, rows = (np.array([getattr(entry, name) for entry in found], np.int64) for name in ("row", "rows"))
        return StoredStates(self.store, first, rows, self._places)

    @property
    def _places(self) -> int | None:
        """Places that the system reads of every text; None for all its tokens."""
        places = self.system.reading.places if self.system.reading is not None else None
        return None if places is None else jax.eval_shape(places, sample(self.job)["text"]).shape[1]

    def _rows(self, encoded: Encoded) -> int:
        return self._places or len(encoded)

    def _wanted(self, splits: Mapping[str, Split], keys: Mapping[str, list[str]]) -> dict[str, Encoded]:
        """{key: a text of it} of some splits, each once."""
        return {key: encoded for name, found in keys.items() for key, encoded in zip(found, splits[name].encoded, strict=True)}

    def _text(self, record: Record, length: int, encoded: Encoded | None) -> dict[str, Any]:
        return {"text": self.job.task.features(record, length, encoded)["text"]}


def _key(encoded: Encoded) -> str:
    return hashlib.blake2b(encoded.ids.tobytes() + repr(encoded.markers).encode(), digest_size=16).hexdigest()
