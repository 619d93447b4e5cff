"""Prepares a data set once: the text of its records in array_record, and each photo and crop at the size a model sees.

    python -m launch.prepare --dataset=mnre --source=DIR --out=DIR [--objects=detected] [--photo_side=224 --crop_side=128 --crops=3]
    python -m launch.prepare --dataset=twitter2017 --source=DIR --out=DIR --crop_side=224
    python -m launch.prepare --dataset=jsonl --source=DIR --out=DIR       (DIR holds train.jsonl, val.jsonl, test.jsonl, or some of them)
    python -m launch.prepare --dataset=twitter2015 --source=DIR --out=DIR --captions=FILE.json   ({picture: caption})
    python -m launch.prepare --dataset=mnre --source=DIR --benchmark      (what each kind of storage gives on this machine)

Without --source the data is looked for where TFDS keeps data that is fetched by hand: $TFDS_DATA_DIR/downloads/manual/DATASET, with
~/tensorflow_datasets for a TFDS_DATA_DIR that is not set. Train on the result with --config.data.name=prepared --config.data.root=OUT.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict
from PIL import Image

from configs import common
from launch import console
from mmre_jax import storage
from mmre_jax.data import builders, datasets, decode, loader, pictures, source
from mmre_jax.data.dataset import OBJECTS, FilePictures, PictureSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.pictures import PicturePlan, Slot
from mmre_jax.data.prepared import ENCODINGS, PreparedError
from mmre_jax.data.split import Split
from mmre_jax.records import Record, RecordError, Region

DATASETS = [name for name, found in datasets.DATASETS.items() if found.files is not None]

_DATASET = flags.DEFINE_enum("dataset", "mnre", DATASETS, "Which data set, or our JSON lines.")
_SOURCE = flags.DEFINE_string("source", "", "Its folder; TFDS's folder for data fetched by hand if empty.")
_OUT = flags.DEFINE_string("out", "", "The folder to make.")
_OBJECTS = flags.DEFINE_enum(
    "objects",
    None,
    OBJECTS,
    "Which object crops are stored ('grounded' leaks MNRE's labels); if not given, the data set's usual ones.",
)
_NONE = flags.DEFINE_string("none_label", common.section("data").none_label, "JSON lines: the label that says that no relation holds.")
_ENCODING = flags.DEFINE_enum("encoding", ENCODINGS[0], ENCODINGS, "How pixels are stored, without loss; png: half as large, far slower.")
_CAPTIONS = flags.DEFINE_string("captions", "", "JSON file {picture: caption}; '' keeps the captions that the records have.")
_PHOTO_SIDE = flags.DEFINE_integer("photo_side", 224, "Side of the photos in pixels; 0 for none.", lower_bound=0)
_CROP_SIDE = flags.DEFINE_integer("crop_side", 128, "Side of the object crops in pixels.", lower_bound=1)
_CROPS = flags.DEFINE_integer("crops", 3, "Object crops a record, at most; 0 for none.", lower_bound=0)
_RESIZE = flags.DEFINE_enum("resize", "squash", pictures.RESIZES, "How pictures come to that size (--config.vision.resize in training).")
_BENCHMARK = flags.DEFINE_bool("benchmark", False, "Time batches of a few hundred records from the files, as png and as raw, and stop.")
_NOISE = flags.DEFINE_integer("benchmark_noise", 4096, "Records of noise that are timed too, as raw, 0.3 MB each; 0: none.", lower_bound=0)
ROUNDS = 5  # of a benchmark


def main() -> None:
    """Reads, prepares, prints the table."""
    if not _BENCHMARK.value and not _OUT.value:
        raise app.UsageError("--out=DIR is needed: the folder to make")
    console.setup()
    folder = pathlib.Path(os.path.abspath(storage.on_disk(_SOURCE.value, "--source"))) if _SOURCE.value else manual_dir(_DATASET.value)
    data = section(_DATASET.value, folder, _OBJECTS.value, _NONE.value)
    data.captions = _CAPTIONS.value
    opened = read(data)
    records = {split: found for split, (found, _) in opened.items()}
    captions = datasets.caption_counts(data, records)
    plan = picture_plan(data.objects, _PHOTO_SIDE.value, _CROP_SIDE.value, _CROPS.value, _RESIZE.value)
    if _BENCHMARK.value:
        print(benchmark(records, plan, folder, _NOISE.value))
        return
    about = {
        "dataset": data.name,
        "objects": data.objects,
        "labels": datasets.all_labels(data, records["train"]) if "train" in records else {},
        "published": dict(datasets.find(data).published),
        "reading": {split: counts for split, (_, counts) in opened.items() if counts},
        "sha256": {str(path.relative_to(folder)): sha256(path) for split in records for path in datasets.files(data, split)},
    }
    if captions:
        about["captions"] = captions
    if data.captions:
        about["sha256"][data.captions] = sha256(pathlib.Path(data.captions).expanduser())
    summary = builders.prepare(records, plan, _OUT.value, encoding=_ENCODING.value, root=folder, about=about)
    print(table(summary))
    print(f"\nprepared: {_OUT.value} (the same as JSON: {pathlib.Path(_OUT.value, 'prepare.json')})")


def manual_dir(dataset: str) -> pathlib.Path:
    """Where TFDS keeps data that its user fetched by hand."""
    base = pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    return pathlib.Path(os.path.abspath(base)) / "downloads" / "manual" / dataset


def section(dataset: str, folder: pathlib.Path, objects: str | None, none_label: str) -> ConfigDict:
    """The section `data` of a configuration that reads a data set from its folder; with its first kind of crops if none is named.

    Raises:
      RecordError: there is no such folder.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such folder: give the folder of {dataset!r} with --source")
    data = common.section("data")
    chosen = objects or datasets.DATASETS[dataset].objects[0]
    data.update({"name": dataset, "root": str(folder), "objects": chosen, "none_label": none_label})
    return data


def read(data: ConfigDict) -> dict[str, tuple[Sequence[Record], dict[str, int]]]:
    """{split: (records, what reading them found)}, of JSON lines those splits that are there. Raises RecordError and PictureError."""
    there = [split for split in datasets.SPLITS if datasets.files(data, split)]
    if not there:
        names = ", ".join(sorted(path.name for path in pathlib.Path(data.root).glob("*.jsonl"))) or "none"
        raise RecordError(f"{data.root}: none of train.jsonl, val.jsonl, test.jsonl; JSON lines there are: {names}")
    return {split: datasets.open_split(data, split) for split in there}


def picture_plan(objects: str, photo_side: int, crop_side: int, crops: int, resize: str) -> PicturePlan:
    """The slots that are stored. Mean and deviation are not part of what is stored, so any will do."""
    colour = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    photo = (Slot("photo", 1, photo_side, "photo", resize, *colour),) if photo_side else ()
    return photo if objects == "none" or not crops else (*photo, Slot(objects, crops, crop_side, objects, resize, *colour))


def sha256(path: pathlib.Path) -> str:
    """The file's checksum, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def table(summary: Mapping[str, Any]) -> str:
    """prepare.json's summary for people."""
    about, found = summary["about"], summary["pictures"]
    kinds = [kind for kind in ("relations", "mentions", "triples") if any(counts[kind] for counts in summary["splits"].values())]
    lines = [f"{'split':<8}{'records':>10}{'published':>11}  {'':<8}{'words':>10}" + "".join(f"{kind:>11}" for kind in kinds)]
    for split, counts in summary["splits"].items():
        published = about["published"].get(split)
        verdict = "" if published is None else "as told" if published == counts["records"] else "DIFFERS"
        told = "" if published is None else f"{published:,}"
        marks = "".join(f"{sum(counts[kind].values()):>11,}" for kind in kinds)
        lines.append(f"{split:<8}{counts['records']:>10,}{told:>11}  {verdict:<8}{counts['words']:>10,}{marks}")
    lines += ["", f"{'':<8}{'referenced':>11}{'stored':>9}{'missing':>9}{'unreadable':>12}"]
    for name in ("photos", "crops"):
        tally = found[name]
        lines.append(f"{name:<8}{tally['referenced']:>11,}{tally['present']:>9,}{tally['missing']:>9,}{tally['unreadable']:>12,}")
    lines.append(f"{found['records_with_photo']:,} of {found['records']:,} records have their photo")
    lines.append(f"{found['stored']:,} pictures stored, {found['bytes'] / 2**20:,.1f} MiB as {summary['encoding']}")
    for name, counts in about.get("captions", {}).items():
        lines.append(f"{name}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    lines += [f"  {example}" for example in dict.fromkeys(found["photos"]["examples"] + found["crops"]["examples"])]
    lines += ["", "sha256", *(f"  {digest}  {name}" for name, digest in about["sha256"].items())]
    return "\n".join(lines)


def benchmark(records: Mapping[str, Sequence[Record]], plan: PicturePlan, root: pathlib.Path, made_up: int, count: int = 256) -> str:
    """Times batches of the pictures of up to `count` records that have any, from the files and from each kind of storage, in turns; and of
    `made_up` records of noise, stored as arrays, which no processor's cache holds.

    Returns:
      A table: records per second in this process (median of the rounds), MiB stored, and the speed against png's.

    Raises:
      PreparedError: no record has a picture.
    """
    everything = (record for found in records.values() for record in found if record.image is not None and os.path.exists(record.image))
    shown = [record for record, _ in zip(everything, range(count), strict=False)]
    if not shown:
        raise PreparedError(f"{root}: nothing to time: no record has a picture")
    sources: dict[str, tuple[PictureSource, Sequence[Record], float]] = {
        "files": (FilePictures(plan), shown, 0.0),
        "files, draft": (FilePictures(plan, draft=decode.read_draft), shown, 0.0),
    }
    with tempfile.TemporaryDirectory() as folder:
        for encoding in ("png", "raw"):
            summary = builders.prepare({"some": shown}, plan, f"{folder}/{encoding}", encoding=encoding, root=root)
            sources[encoding] = source.PreparedPictures(f"{folder}/{encoding}", plan), shown, summary["pictures"]["bytes"] / 2**20
        if made_up:
            noise = [_made_up(number, plan) for number in range(made_up)]
            summary = builders.prepare({"some": noise}, plan, f"{folder}/noise", read=_noise)
            sources["raw, noise"] = source.PreparedPictures(f"{folder}/noise", plan), noise, summary["pictures"]["bytes"] / 2**20
        passes = {name: _batches(pictures, found) for name, (pictures, found, _) in sources.items()}
        rounds = [{name: run() for name, run in passes.items()} for _ in range(ROUNDS)]
    rates = {name: statistics.median(row[name] for row in rounds) for name in sources}
    lines = [f"{len(shown)} records ({made_up} of noise), {sum(slot.count for slot in plan)} pictures each at most"]
    lines.append(f"{'':<14}{'records/s':>11}{'MiB':>9}{'x png':>8}")
    return "\n".join(
        lines + [f"{name:<14}{rate:>11,.0f}{sources[name][2]:>9,.1f}{rate / rates['png']:>8.2f}" for name, rate in rates.items()]
    )


def _batches(pictures: PictureSource, records: Sequence[Record]) -> Callable[[], float]:
    """A function that loads the pictures of the records as batches of training and says how many records a second that were."""
    nothing = np.zeros(1, np.int32)
    split = Split(records, [Encoded(nothing, nothing, nothing)] * len(records), lambda *_: {}, pictures)
    order = loader.Order(split.lengths, min(32, len(records)), (1,), train=True)
    split.prepare()

    def run() -> float:
        start = time.perf_counter()
        seen = sum(len(batch["valid"]) for batch in loader.batches(order, split, threads=loader.cores()))
        return seen / (time.perf_counter() - start)

    return run


def _made_up(number: int, plan: PicturePlan) -> Record:
    """A record whose pictures, of all the plan's slots, `_noise` makes."""
    crops = [(slot, k) for slot in plan if slot.source != "photo" for k in range(slot.count)]
    regions = tuple(Region(file=f"{slot.side} {number} {k}", source=slot.source) for slot, k in crops)
    return Record(str(number), ("a",), image=f"{plan[0].side} {number}", regions=regions)


def _noise(name: str) -> Image.Image:
    side, *seed = map(int, name.split())
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


if __name__ == "__main__":
    console.run(main)
