"""Makes the features of pictures that no run has made yet (features.py), and finds those that are there.

The folder's name stands for all that features depend on but the pictures: the encoder's arrays, the program that computes them (sizes,
normalisation, dtype, precision, and the library's code with them), the kind of device, and how pictures are cut and resized. So runs that
differ in anything else share it: seeds, ablations, sweeps, evaluations.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.data.dataset import root_of
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.feature_store import Adder, Entry, FeatureStore, Fields, StoredFeatures, told
from mmre_jax.data.loader import Batch, Order, batches
from mmre_jax.data.picture_stamps import ABSENT, stamps
from mmre_jax.data.pictures import PicturePlan, plan_to_json
from mmre_jax.data.split import Split
from mmre_jax.progress import Progress
from mmre_jax.records import Record
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.training.job import Job
from mmre_jax.training.splits import makers
from mmre_jax.training.step import precise

DEFAULT = "~/.cache/mmre_jax/features"
NONE = "absent"  # the key of what the encoder makes of pictures that are not there

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Maker:
    """What makes the features of a job's pictures. see: a batch of train.eval_batch sets of pictures -> {field: [size, ...]}."""

    job: Job
    system: ModuleSystem
    store: FeatureStore
    see: Callable[[Batch], Mapping[str, Any]]

    @classmethod
    def of(cls, job: Job, system: ModuleSystem, own: Mapping[str, Any], data: ConfigDict) -> Maker:
        """Args: own: the encoder's variables, on the host. data: as of `with_features`."""
        program = jax.jit(precise(system.features, job.config.train.precision))
        one = blank(system, 1)
        made_of, name = known_by(job, own, program.lower(own, one), pictures=plan_to_json(system.plan))
        store = FeatureStore(folder_of(data) / name, fields(system, jax.eval_shape(program, own, one)), made_of)
        on_device = jax.device_put(own)
        return cls(job, system, store, lambda batch: program(on_device, batch))

    @property
    def size(self) -> int:
        """Sets of pictures that are encoded at once."""
        return int(self.job.config.train.eval_batch)

    def keys(self, split: Split, data: ConfigDict) -> np.ndarray:
        """The keys of what each record is shown, str [N], or [N, K] where pictures are encoded by themselves."""
        assert split.pictures is not None
        found = np.array(stamps(shown(split), split.pictures, self.system.plan, data), object)
        if _apart(self.system):
            return np.vectorize(lambda stamp: _key([stamp]), otypes=[object])(found)
        return np.array([_key(row) for row in found.tolist()], object)

    def tell(self, keys: Mapping[str, np.ndarray]) -> None:
        """Says how much there is, and how much of it is not there yet, before any of it is computed."""
        self.store.make()
        wanted, size = wanted_of(keys), self.store.row.itemsize
        missing, what = wanted - self.store.index().keys(), "pictures" if _apart(self.system) else "sets of pictures"
        logger.info(
            "features: %s %s of %s, %s in %s; %s of them are not there yet",
            *(f"{len(wanted):,}", what, told(size), told(len(wanted) * size), self.store.folder, f"{len(missing):,}"),
        )

    def fill(self, splits: Mapping[str, Split], keys: Mapping[str, np.ndarray]) -> None:
        """Computes what is not there yet."""
        self.store.make()
        missing = wanted_of(keys) - self.store.index().keys()
        if not missing:
            return
        self.store.check_room(len(missing))
        with self.store.adding() as adder:
            if NONE not in adder.index:
                seen = self._seen(blank(self.system, self.size))
                adder.add([NONE], np.zeros((1, places(self.system.seen_at_once)), bool), {name: x[:1] for name, x in seen.items()})
            records, owed = _to_read(splits, keys, adder.index)
            pictures = next(split.pictures for split in splits.values() if len(split.records))
            if not records:  # another run has just added them
                return
            order = Order(np.zeros(len(records), np.int64), self.size, (1,), train=False)
            nothing = np.zeros(0, np.int32)
            split = Split(records, [Encoded(nothing, nothing, nothing)] * len(records), _nothing, pictures)
            data = self.job.config.data
            stream = batches(order, split, **makers(data, split, len(records)))
            with Progress("features", order.steps, unit="batch") as progress:
                if _apart(self.system):
                    self._add_apart(stream, owed, adder, progress)
                else:
                    self._add_together(stream, owed, adder, progress)

    def _add_together(self, stream: Iterator[Batch], owed: Sequence[list[str]], adder: Adder, progress: Progress) -> None:
        """Adds a row for every record of the stream, which owes one each."""
        for batch in stream:
            rows = np.flatnonzero(batch["valid"])
            keys = [owed[batch["index"][row]][0] for row in rows]
            present = np.concatenate([batch["present"][slot.name] for slot in self.system.plan], axis=1)[rows]
            self._add(adder, keys, present, {k: v[rows] for k, v in self._seen(batch).items()})
            progress.advance()

    def _add_apart(self, stream: Iterator[Batch], owed: Sequence[list[str]], adder: Adder, progress: Progress) -> None:
        """Adds a row for every picture that is owed, `size` of them at once, from whichever records."""
        waiting: dict[str, tuple[np.ndarray, np.bool_]] = {}
        (slot,) = self.system.seen_at_once
        for batch in stream:
            pixels, present = (np.concatenate([batch[name][s.name] for s in self.system.plan], axis=1) for name in ("pictures", "present"))
            for row in np.flatnonzero(batch["valid"]):
                for place, key in enumerate(owed[batch["index"][row]]):
                    if key not in adder.index:
                        waiting[key] = pixels[row, place], present[row, place]
            while len(waiting) >= self.size or (waiting and progress.done == progress.total - 1):
                keys = list(waiting)[: self.size]
                found = [waiting.pop(key) for key in keys]
                full = blank(self.system, self.size)
                for n, (picture, there) in enumerate(found):
                    full["pictures"][slot.name][n, 0], full["present"][slot.name][n, 0] = picture, there
                seen = {k: v[: len(keys)] for k, v in self._seen(full).items()}
                self._add(adder, keys, full["present"][slot.name][: len(keys)], seen)
            progress.advance()

    def _add(self, adder: Adder, keys: Sequence[str], present: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Adds rows; what none of whose pictures could be read is what is absent."""
        there = present.any(axis=1)
        adder.add([key for key, any_ in zip(keys, there, strict=True) if any_], present[there], {k: v[there] for k, v in values.items()})
        adder.name({key: adder.index[NONE] for key, any_ in zip(keys, there, strict=True) if not any_})

    def _seen(self, batch: Batch) -> dict[str, np.ndarray]:
        """The fields of a batch's rows, on the host."""
        found = self.see({name: batch[name] for name in ("pictures", "present")})
        return {name: np.asarray(x[:, 0] if _apart(self.system) else x) for name, x in found.items()}

    def read(self, split: Split, keys: np.ndarray, index: Mapping[str, Entry]) -> Split:
        """The split with its features."""
        rows = np.vectorize(lambda key: index[key].row, otypes=[np.int64])(keys)
        each = np.array([[x for key in np.atleast_1d(found) for x in index[key].present] for found in keys], np.bool_)
        ends = np.cumsum([slot.count for slot in self.system.plan])
        present = dict(zip((slot.name for slot in self.system.plan), np.split(each, ends[:-1], axis=1), strict=True))
        return dataclasses.replace(split, features=StoredFeatures(self.store, rows, present))


def known_by(job: Job, own: Mapping[str, Any], program: Any, **more: Any) -> tuple[dict[str, Any], str]:
    """(what features depend on beside what they are of, as plain JSON values; the name of the folder that stands for it).

    Args:
      own: the encoder's variables, on the host.
      program: lowered, what computes them.
    """
    made_of = {
        "system": job.config.system.name,
        "weights": _checksum(own),
        "program": hashlib.sha256(program.as_text().encode()).hexdigest(),
        "precision": job.config.train.precision,
        "device": f"{jax.default_backend()}, {jax.local_devices()[0].device_kind}",
        **more,
    }
    return made_of, hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:24]


def fields(system: ModuleSystem, seen: Mapping[str, jax.ShapeDtypeStruct]) -> Fields:
    """A row's fields, from the shapes of what `system.features` gives."""
    return {name: (str(x.dtype), tuple(x.shape[2:] if _apart(system) else x.shape[1:])) for name, x in seen.items()}


def places(plan: PicturePlan) -> int:
    """Pictures of a plan."""
    return sum(slot.count for slot in plan)


def blank(system: ModuleSystem, size: int) -> dict[str, dict[str, np.ndarray]]:
    """Pictures as `system.features` takes them, of which none is there."""
    plan = system.seen_at_once
    return {
        "pictures": {slot.name: np.zeros((size, slot.count, slot.side, slot.side, 3), np.uint8) for slot in plan},
        "present": {slot.name: np.zeros((size, slot.count), np.bool_) for slot in plan},
    }


def wanted_of(keys: Mapping[str, np.ndarray]) -> set[str]:
    """All keys of some splits, and that of what is absent."""
    return {NONE, *(key for found in keys.values() for key in found.flat)}


def shown(split: Split) -> list[Record | None]:
    """Of each record of a split the one whose pictures it is shown with, None for none."""
    whose = range(len(split.records)) if split.picture_of is None else split.picture_of.tolist()
    return [None if other < 0 else split.records[other] for other in whose]


def folder_of(data: ConfigDict) -> pathlib.Path:
    """The folder that holds those of all encoders: as said, else beside the prepared data, else the user's own."""
    if data.features_folder:
        return storage.on_disk(data.features_folder, "data.features_folder").expanduser()
    return root_of(data) / "features" if data.name == "prepared" else pathlib.Path(DEFAULT).expanduser()


def _to_read(
    splits: Mapping[str, Split], keys: Mapping[str, np.ndarray], index: Mapping[str, Entry]
) -> tuple[list[Record], list[list[str]]]:
    """The fewest records, or nearly, that show every picture, or every set of them, that is not there; and the keys of each."""
    records, owed, covered = [], [], set(index)
    for name, found in keys.items():
        for record, own in zip(shown(splits[name]), found, strict=True):
            each = np.atleast_1d(own).tolist()
            if record is not None and not covered.issuperset(each):
                covered.update(each)
                records.append(record)
                owed.append(each)
    return records, owed


def _nothing(record: Record, length: int, encoded: Encoded | None) -> dict[str, Any]:
    return {}


def _apart(system: ModuleSystem) -> bool:
    return system.sight is not None and system.sight.apart


def _key(found: Sequence[str]) -> str:
    """Of the stamps of pictures that are encoded together."""
    return NONE if set(found) == {ABSENT} else hashlib.blake2b(json.dumps(found).encode(), digest_size=16).hexdigest()


def _checksum(variables: Mapping[str, Any]) -> str:
    """Of all arrays, and of their names."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        total.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        total.update(np.ascontiguousarray(leaf).data)
    return total.hexdigest()
