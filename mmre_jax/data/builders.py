"""TFDS builders: any list of records and their pictures, prepared once into array_record files, without TensorFlow.

`prepare` works in a folder beside the one asked for, which gets its name only when everything is in it: an interrupted build leaves
nothing that could be taken for a data set.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import io
import itertools
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from mmre_jax import storage
from mmre_jax.data import pictures
from mmre_jax.data.dataset import objects_of
from mmre_jax.data.decode import PictureError, read_picture
from mmre_jax.data.picture_report import PictureReport, tally
from mmre_jax.data.pictures import PicturePlan, Reader, Slot, Source
from mmre_jax.data.prepared import (
    ENCODINGS,
    FORMAT,
    PICTURES_SPLIT,
    VERSION,
    PreparedError,
    check_names,
    encode_record,
    picture_features,
    picture_key,
    record_features,
)
from mmre_jax.progress import on_terminal
from mmre_jax.records import Record

Request = tuple[str, tuple[Source, ...], Slot]


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


class Pictures(tfds.core.GeneratorBasedBuilder):
    """The data set `pictures` of a prepared folder."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(self, rows: Iterable[dict[str, Any]], encoding: str, data_dir: str) -> None:
        self._rows, self._encoding = rows, encoding
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=picture_features(self._encoding), disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {PICTURES_SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(self._rows)


def prepare(
    records: Mapping[str, Sequence[Record]],
    plan: PicturePlan,
    out: str | os.PathLike[str],
    *,
    encoding: str = "png",
    root: str | os.PathLike[str] | None = None,
    read: Reader = read_picture,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Prepares records and their pictures into `out` (see `prepared` for what is in it).

    Args:
      records: {split: records}, in the order in which they will be read.
      plan: which pictures are stored, at which size and resize rule.
      out: the folder to make; it must not exist, or be empty.
      encoding: 'png' (lossless, small) or 'raw' (larger, faster to read).
      root: the folder that the records' files lie in; None for keys that only `read` understands.
      read: reads a file or key as an RGB picture.
      about: what else is known of the data set, stored in prepare.json as it is.

    Returns:
      What stands in prepare.json: format, root, encoding, plan, splits (records, words, counts of relations, of typed
      mentions, of triples, of objects where there are any), pictures (stored, bytes, and the counts of missing and unreadable ones), about.

    Raises:
      PreparedError: `out` holds something, a split is empty, the encoding is unknown, root or a split's name is no such thing, or a record
        cannot be stored as it is.
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
        _build(Records(records, root, str(folder)))
        stored = _store_pictures(records, plan, folder, encoding, root, read)
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


def _build(builder: tfds.core.GeneratorBasedBuilder) -> None:
    downloads = pathlib.Path(builder.data_dir).parent / "downloads"  # TFDS makes this folder whether it is needed or not
    tfds.display_progress_bar(on_terminal(sys.stderr))
    with contextlib.redirect_stdout(sys.stderr):  # TFDS announces itself with print
        builder.download_and_prepare(download_dir=str(downloads))
    shutil.rmtree(downloads)


def _counts(records: Sequence[Record]) -> dict[str, Any]:
    labels = collections.Counter(relation.label for record in records for relation in record.relations if relation.label is not None)
    types = collections.Counter(mention.type for record in records for mention in record.mentions if mention.type is not None)
    triples = collections.Counter(triple.label for record in records for triple in record.triples)
    objects = collections.Counter(region.label for record in records for region in objects_of(record))
    found = {"relations": labels, "mentions": types, "triples": triples} | ({"objects": objects} if objects else {})
    words = sum(len(record.words) for record in records)
    return {"records": len(records), "words": words, **{name: dict(counter.most_common()) for name, counter in found.items()}}


def _store_pictures(
    records: Mapping[str, Sequence[Record]], plan: PicturePlan, folder: pathlib.Path, encoding: str, root: str | None, read: Reader
) -> dict[str, Any]:
    """Builds the data set of pictures and its index. Returns how many there are, their bytes, and what could not be had."""
    groups = _requests(itertools.chain.from_iterable(records.values()), plan, root)
    index: dict[str, int] = {}
    errors: dict[str, PictureError | None] = {}
    sizes: list[int] = []

    def rows() -> Iterator[dict[str, Any]]:
        for key, found in _decoded(list(groups.values()), encoding, read):
            errors[key] = found if isinstance(found, PictureError) else None
            if not isinstance(found, PictureError):
                index[key] = len(index)
                sizes.append(len(found) if isinstance(found, bytes) else found.nbytes)
                yield {"key": key, "pixels": found}

    generator = rows()
    first = next(generator, None)
    if first is not None:  # TFDS makes no data set without rows
        _build(Pictures(itertools.chain([first], generator), encoding, str(folder)))
    (folder / "pictures.json").write_text(json.dumps(index, ensure_ascii=False), "utf-8")
    photos = {key for group in groups.values() for key, _, slot in group if slot.source == "photo"}
    files = {places[0].file for group in groups.values() for key, places, slot in group if slot.source == "photo" and key in index}
    report = PictureReport(
        records=sum(map(len, records.values())),
        records_with_photo=sum(record.image in files for found in records.values() for record in found),
        photos=tally(error for key, error in errors.items() if key in photos),
        crops=tally(error for key, error in errors.items() if key not in photos),
    )
    return {"stored": len(index), "bytes": sum(sizes), **report.to_json()}


def _requests(records: Iterable[Record], plan: PicturePlan, root: str | None) -> dict[str, list[Request]]:
    """What to store, each key once, grouped so that a photo and the crops cut from it come together."""
    seen: set[str] = set()
    groups: dict[str, list[Request]] = {}
    for record in records:
        for slot in plan:
            for places in pictures.sources(record, slot):
                key = picture_key(places, slot, root)
                if key not in seen:
                    seen.add(key)
                    groups.setdefault(places[-1].file if places else "", []).append((key, places, slot))
    return groups


def _decoded(groups: Sequence[Sequence[Request]], encoding: str, read: Reader) -> Iterator[tuple[str, bytes | np.ndarray | PictureError]]:
    """(key, encoded pixels or why there are none) of every request, in order, decoded by a few threads that run a little ahead."""

    def work(group: Sequence[Request]) -> list[tuple[str, bytes | np.ndarray | PictureError]]:
        opened: dict[str, Image.Image | PictureError] = {}
        return [(key, _encoded(places, slot, encoding, read, opened)) for key, places, slot in group]

    threads = min(os.cpu_count() or 1, 16)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        running: collections.deque[concurrent.futures.Future[list[tuple[str, bytes | np.ndarray | PictureError]]]] = collections.deque()
        for group in groups:
            running.append(pool.submit(work, group))
            if len(running) > 4 * threads:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()


def _encoded(
    places: tuple[Source, ...], slot: Slot, encoding: str, read: Reader, opened: dict[str, Image.Image | PictureError]
) -> bytes | np.ndarray | PictureError:
    try:
        pixels = pictures.fit(pictures.picture_at(places, read, opened), slot.side, slot.resize)
    except PictureError as error:
        return error
    if encoding == "raw":
        return pixels
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
