"""Any list of records and their pictures, prepared once: TFDS builders of array_record files, without TensorFlow, and arrays of pictures.

`prepare` works in a folder beside the one asked for, which gets its name only when everything is in it: an interrupted build leaves
nothing that could be taken for a data set.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from mmre_jax import storage
from mmre_jax.data import pictures
from mmre_jax.data.dataset import objects_of
from mmre_jax.data.decode import read_picture
from mmre_jax.data.pictures import PicturePlan, Reader
from mmre_jax.data.prepared import (
    ENCODINGS,
    FORMAT,
    VERSION,
    PreparedError,
    check_names,
    encode_record,
    record_features,
)
from mmre_jax.data.storing import build, check_room, disk_needed, requests, store
from mmre_jax.records import Record


class Records(tfds.core.GeneratorBasedBuilder):
    """The data set `records` of a prepared folder."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(self, records: Mapping[str, Sequence[Record]], root: str | None, data_dir: str) -> None:
        self._records, self._root = records, root
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=record_features(), disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {split: self._generate_examples(records) for split, records in self._records.items()}

    def _generate_examples(self, records: Sequence[Record]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, record in enumerate(records):
            yield number, encode_record(record, self._root)


def prepare(
    records: Mapping[str, Sequence[Record]],
    plan: PicturePlan,
    out: str | os.PathLike[str],
    *,
    encoding: str = "raw",
    root: str | os.PathLike[str] | None = None,
    read: Reader = read_picture,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Prepares records and their pictures into `out` (see `prepared` for what is in it).

    Args:
      records: {split: records}, in the order in which they will be read.
      plan: which pictures are stored, at which size and resize rule.
      out: the folder to make; it must not exist, or be empty.
      encoding: 'raw' (arrays, of which a batch is one gather) or 'png' (without loss, about half the size, many times slower to read).
      root: the folder that the records' files lie in; None for keys that only `read` understands.
      read: reads a file or key as an RGB picture.
      about: what else is known of the data set, stored in prepare.json as it is.

    Returns:
      What stands in prepare.json: format, root, encoding, plan, splits (records, words, counts of relations, of typed
      mentions, of triples, of objects where there are any), pictures (stored, bytes, checksum, and the counts of missing and unreadable
      ones), about.

    Raises:
      PreparedError: `out` holds something, a split is empty, the encoding is unknown, root or a split's name is no such thing, or a record
        cannot be stored as it is; or the arrays would not fit on the disk.
      PermissionError, OSError: `out` cannot be written.
    """
    out = storage.on_disk(out, "--out")
    if encoding not in ENCODINGS:
        raise PreparedError(f"encoding is one of {', '.join(ENCODINGS)}, found {encoding!r}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PreparedError(f"{out}: exists already; remove it or choose another folder")
    for split, found in records.items():
        if not found:
            raise PreparedError(f"{out}: split {split!r} has no records")
    plan, root = pictures.check_plan(plan), None if root is None else os.fspath(root)
    check_names(str(out), root, tuple(records))
    with _staged(out) as folder:
        build(Records(records, root, str(folder)))
        groups = requests(itertools.chain.from_iterable(records.values()), plan, root)
        if encoding == "raw":
            check_room(out, disk_needed(groups, root))
        stored = store(records, plan, groups, folder, encoding, read)
        summary = {
            "format": FORMAT,
            "root": root,
            "encoding": encoding,
            "plan": pictures.plan_to_json(plan),
            "splits": {split: _counts(found) for split, found in records.items()},
            "pictures": stored,
            "about": dict(about or {}),
        }
        (folder / "prepare.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False), "utf-8")
    return summary


@contextlib.contextmanager
def _staged(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new folder beside `out` that becomes `out` if the block ends well, and is removed otherwise."""
    folder = out.parent / f".{out.name}.incomplete-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _counts(records: Sequence[Record]) -> dict[str, Any]:
    labels = collections.Counter(relation.label for record in records for relation in record.relations if relation.label is not None)
    types = collections.Counter(mention.type for record in records for mention in record.mentions if mention.type is not None)
    triples = collections.Counter(triple.label for record in records for triple in record.triples)
    objects = collections.Counter(region.label for record in records for region in objects_of(record))
    found = {"relations": labels, "mentions": types, "triples": triples} | ({"objects": objects} if objects else {})
    words = sum(len(record.words) for record in records)
    return {"records": len(records), "words": words, **{name: dict(counter.most_common()) for name, counter in found.items()}}
