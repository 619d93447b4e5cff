"""The pictures of a prepared data set, each decoded and stored once: as rows of arrays, or as PNG in a TFDS data set."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import hashlib
import io
import itertools
import json
import logging
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
from mmre_jax.data.arrays import PictureFile
from mmre_jax.data.decode import PictureError
from mmre_jax.data.picture_report import PictureReport, tally
from mmre_jax.data.pictures import PicturePlan, Reader, Slot, Source
from mmre_jax.data.prepared import PICTURES, VERSION, PreparedError, kind_of, picture_features, picture_key
from mmre_jax.progress import on_terminal
from mmre_jax.records import Record

Request = tuple[str, tuple[Source, ...], Slot]
Groups = Mapping[str, Sequence[Request]]

logger = logging.getLogger(__name__)


class Pictures(tfds.core.GeneratorBasedBuilder):
    """The data set `pictures` of a prepared folder whose pictures are PNG."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(self, rows: Iterable[dict[str, Any]], data_dir: str) -> None:
        self._rows = rows
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=picture_features(), disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {PICTURES: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(self._rows)


def build(builder: tfds.core.GeneratorBasedBuilder) -> None:
    """Writes the files of a TFDS data set."""
    downloads = pathlib.Path(builder.data_dir).parent / "downloads"  # TFDS makes this folder whether it is needed or not
    tfds.display_progress_bar(on_terminal(sys.stderr))
    with contextlib.redirect_stdout(sys.stderr):  # TFDS announces itself with print
        builder.download_and_prepare(download_dir=str(downloads))
    shutil.rmtree(downloads)


def disk_needed(groups: Groups, root: str | None) -> dict[str, int]:
    """{kind of picture: bytes} that arrays of these pictures take at most: of those whose files are there, readable or not."""
    there = functools.lru_cache(maxsize=None)(lambda file: root is None or storage.is_remote(root) or os.path.isfile(file))
    needed = collections.Counter[str]()
    for _, places, slot in itertools.chain.from_iterable(groups.values()):
        if any(there(place.file) for place in places):
            needed[kind_of(slot)] += 3 * slot.side**2
    return dict(needed)


def check_room(out: pathlib.Path, needed: Mapping[str, int]) -> None:
    """Says how large the arrays will be. Raises PreparedError where the disk has less than that."""
    whole = ", ".join(f"{kind} {size / 1e9:,.2f} GB" for kind, size in needed.items())
    logger.info("pictures: %.2f GB at most%s", sum(needed.values()) / 1e9, f" ({whole})" if whole else "")
    above = next(folder for folder in out.parents if folder.exists())
    if (free := shutil.disk_usage(above).free) < sum(needed.values()):
        total = sum(needed.values()) / 1e9
        raise PreparedError(f"{out}: the pictures take up to {total:,.2f} GB ({whole}), and {free / 1e9:,.2f} GB are free")


def store(
    records: Mapping[str, Sequence[Record]], plan: PicturePlan, groups: Groups, folder: pathlib.Path, encoding: str, read: Reader
) -> dict[str, Any]:
    """Stores pictures and their index. Returns how many there are, their bytes and checksum, and what could not be had."""
    slots = {key: slot for group in groups.values() for key, _, slot in group}
    index: dict[str, int] = {}
    errors: dict[str, PictureError | None] = {}
    sizes: list[int] = []

    def found() -> Iterator[tuple[str, bytes | np.ndarray]]:
        for key, pixels in _decoded(list(groups.values()), encoding, read):
            errors[key] = pixels if isinstance(pixels, PictureError) else None
            if not isinstance(pixels, PictureError):
                sizes.append(len(pixels) if isinstance(pixels, bytes) else pixels.nbytes)
                yield key, pixels

    if encoding == "raw":
        checksum = _write_arrays(found(), plan, folder / PICTURES, index)
    else:
        checksum = ""
        _build_pictures(found(), folder, index)
    (folder / "pictures.json").write_text(json.dumps(index, ensure_ascii=False), "utf-8")
    photos = {key for key, slot in slots.items() if slot.source == "photo"}
    files = {places[0].file for group in groups.values() for key, places, slot in group if slot.source == "photo" and key in index}
    report = PictureReport(
        records=sum(map(len, records.values())),
        records_with_photo=sum(record.image in files for found in records.values() for record in found),
        photos=tally(error for key, error in errors.items() if key in photos),
        crops=tally(error for key, error in errors.items() if key not in photos),
    )
    return {"stored": len(index), "bytes": sum(sizes), "checksum": checksum, **report.to_json()}


def _write_arrays(found: Iterable[tuple[str, Any]], plan: PicturePlan, folder: pathlib.Path, index: dict[str, int]) -> str:
    """Writes pictures into the array of their kind and their rows into `index`. Returns the checksum of all."""
    folder.mkdir()
    with contextlib.ExitStack() as opened:
        kinds = {kind_of(slot): slot.side for slot in plan}
        files = {kind: opened.enter_context(PictureFile(folder / f"{kind}.npy", side)) for kind, side in kinds.items()}
        for key, pixels in found:
            index[key] = files[key.partition(":")[0]].append(pixels)
        sums = json.dumps({kind: files[kind].checksum for kind in sorted(files)})
    return hashlib.blake2b(sums.encode(), digest_size=16).hexdigest()


def _build_pictures(found: Iterable[tuple[str, Any]], folder: pathlib.Path, index: dict[str, int]) -> None:
    """Builds the data set of PNG pictures, and writes their rows into `index`."""

    def rows() -> Iterator[dict[str, Any]]:
        for key, data in found:
            index[key] = len(index)
            yield {"key": key, "pixels": data}

    generator = rows()
    first = next(generator, None)
    if first is not None:  # TFDS makes no data set without rows
        build(Pictures(itertools.chain([first], generator), str(folder)))


def requests(records: Iterable[Record], plan: PicturePlan, root: str | None) -> Groups:
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
