"""Objects of all pictures of an input, found in shards that a killed program finds again.

    OUT/...                          what readers take, see detection_inputs.py; written when all shards are there
    OUT/detect/settings.json         what the shards were made with
    OUT/detect/parts/00000.jsonl     a line for each picture of a shard: {"image", "regions"}, or {"image", "note"}
    OUT/detect/features/00000.safetensors     where asked for: {name of a picture: float32 [objects, hidden]}, row i of which belongs to the
                                     picture's i-th detected region
    OUT/detect/rejects.jsonl         the pictures that could not be looked at, with the reason
    OUT/detect/summary.json          counts, and the checksums of what readers take
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import safetensors.numpy

from mmre_jax.bulk.made import differences
from mmre_jax.data.decode import PictureError
from mmre_jax.detection import Detected, Detector, Placed
from mmre_jax.detection_inputs import Input
from mmre_jax.progress import Progress
from mmre_jax.records import RecordError, Region
from mmre_jax.text_files import parse_json, read_json, read_text
from mmre_jax.training.log import write_json, write_text

FOLDER = "detect"
SHARD = 32  # pictures that are decoded, looked at and written together
_CHECKSUMS = ("input", "labels", "weights")  # of the settings, which say nothing to a person
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Work:
    """Where the shards of an input are."""

    given: Input
    folder: pathlib.Path
    features: bool

    @property
    def count(self) -> int:
        return -(-len(self.given.pictures) // SHARD)

    @property
    def summary(self) -> pathlib.Path:
        return self.folder / "summary.json"

    def names(self, shard: int) -> tuple[str, ...]:
        return self.given.pictures[shard * SHARD : (shard + 1) * SHARD]

    def part(self, shard: int) -> pathlib.Path:
        return self.folder / "parts" / f"{shard:05d}.jsonl"


def detect_all(
    detector: Detector, given: Input, out: str | os.PathLike[str], *, features: bool = False, strict: bool = False, progress: str = ""
) -> dict[str, Any]:
    """Looks at every picture of an input once and writes what was found; goes on where it was stopped before.

    A picture that was passed over before is looked at where it can be read by now, with the others of its shard again.

    Args:
      out: a folder; that of MNRE's input itself, if its readers are to find the boxes there.
      features: whether each object's feature is written, too.
      strict: whether a picture that is missing or cannot be read ends all; else it is noted and passed over.
      progress: name under which progress is shown.

    Returns:
      The summary: pictures, rejected and the first reasons; boxes, without_boxes; written, {file: its checksum}.

    Raises:
      RecordError: `out` has results of other settings, or files that would be overwritten, those written here and changed since among
        them; the input cannot be written in its own form
        (two photos that MNRE's form cannot tell apart), or was changed meanwhile.
      PictureError: where `strict`.
    """
    out = pathlib.Path(out)
    work = _Work(given, out / FOLDER, features)
    _check_place(work, out, {"input": given.digest(), "features": features, "shard": SHARD, **detector.about()})
    todo = [shard for shard in range(work.count) if not _is_done(detector, work, shard, strict)]
    done = len(given.pictures) - sum(len(work.names(shard)) for shard in todo)
    if done:
        logger.info("%s: %d of %d pictures were looked at before", work.folder, done, len(given.pictures))
    with Progress(progress, len(given.pictures), start=done, unit="picture") as bar:
        for shard, opened in _ahead(detector, work, todo):
            for name, one in zip(work.names(shard), opened, strict=True):
                if strict and isinstance(one, str):
                    raise PictureError(f"{name}: {one}")
            _write(work, shard, detector.look(opened, features=features))
            for _ in opened:
                bar.advance()
    return _finish(work, out)


def _check_place(work: _Work, out: pathlib.Path, settings: dict[str, Any]) -> None:
    """Makes the folders, unless what is there was made otherwise."""
    list(work.given.texts(out, {}.fromkeys(work.given.pictures, ())))  # what cannot be written is told now, and not at the end
    outputs = work.given.outputs(out)
    sources = [path.resolve() for path, _ in work.given.files]
    if same := [path for path in outputs if path.resolve() in sources]:
        raise RecordError(f"{same[0]} is what is read: give another folder as --out")
    path = work.folder / "settings.json"
    if path.is_file():
        if said := differences(path, settings, _CHECKSUMS):
            old = ", ".join(str(place) for place in (work.folder, *outputs) if place.exists())
            raise RecordError(f"{out} holds objects found with other settings ({said}): give another --out, or remove {old}")
        summary = read_json(work.summary) if work.summary.is_file() else {}
        before = summary.get("written", {}) if isinstance(summary, dict) else {}
        for output in outputs:
            if output.is_file() and before.get(name := output.relative_to(out).as_posix(), now := _checksum(output.read_bytes())) != now:
                raise RecordError(f"{output} was changed since it was written here: give another --out, or move {name} away")
    elif there := [str(output) for output in outputs if output.exists()]:
        raise RecordError(f"{there[0]} is there already, and not from here: give another --out, or move it away")
    else:
        (work.folder / "parts").mkdir(parents=True, exist_ok=True)
        write_json(path, settings)
    if work.features:
        (work.folder / "features").mkdir(exist_ok=True)


def _checksum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _is_done(detector: Detector, work: _Work, shard: int, strict: bool) -> bool:
    """Whether a shard is there, and of the pictures passed over in it none can be read by now; where `strict`, whether there are none."""
    if not work.part(shard).is_file():
        return False
    passed = [row["image"] for row in _rows(work, shard) if "note" in row]
    return not passed or (not strict and all(isinstance(_open(detector, work, name), str) for name in passed))


def _open(detector: Detector, work: _Work, name: str) -> Placed | str:
    """A picture's pixels and size as the detector looks at them, or why it cannot be read."""
    try:
        return detector.open(work.given.place(name))
    except PictureError as error:
        return str(error)


def _ahead(detector: Detector, work: _Work, shards: Sequence[int]) -> Iterator[tuple[int, list[Placed | str]]]:
    """The shards with their opened pictures; those of the next one are decoded while one is looked at."""
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waiting: list[tuple[int, list[concurrent.futures.Future[Placed | str]]]] = []
        try:
            for shard in shards:
                waiting.append((shard, [pool.submit(_open, detector, work, name) for name in work.names(shard)]))
                if len(waiting) > 1:
                    yield _done(waiting.pop(0))
            while waiting:
                yield _done(waiting.pop(0))
        finally:
            pool.shutdown(cancel_futures=True)


def _done(entry: tuple[int, list[concurrent.futures.Future[Placed | str]]]) -> tuple[int, list[Placed | str]]:
    return entry[0], [future.result() for future in entry[1]]


def _write(work: _Work, shard: int, found: Sequence[Detected]) -> None:
    """Writes a shard: its features first, so that a part that is there is whole."""
    names = work.names(shard)
    if work.features:
        target = work.folder / "features" / f"{shard:05d}.safetensors"
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        tensors = {name: one.features for name, one in zip(names, found, strict=True) if one.features is not None}
        partial.write_bytes(safetensors.numpy.save(tensors))
        partial.replace(target)
    lines = []
    for name, one in zip(names, found, strict=True):
        value = {"note": one.note} if one.note else {"regions": [_json(region) for region in one.regions]}
        lines.append(json.dumps({"image": name, **value}, ensure_ascii=False, allow_nan=False))
    write_text(work.part(shard), "".join(f"{line}\n" for line in lines))


def _json(region: Region) -> dict[str, Any]:
    return {"box": list(region.box or ()), "source": region.source, "label": region.label, "score": region.score}


def _rows(work: _Work, shard: int) -> list[dict[str, Any]]:
    """The lines of a shard that is there. Raises RecordError where they are not those of its pictures."""
    part = work.part(shard)
    lines = [line for line in read_text(part).split("\n") if line]
    rows = [parse_json(line, f"{part}:{number}") for number, line in enumerate(lines, 1)]
    if [row.get("image") for row in rows] != list(work.names(shard)):
        raise RecordError(f"{part}: does not hold the pictures of its shard: remove it, and start again")
    return rows


def _finish(work: _Work, out: pathlib.Path) -> dict[str, Any]:
    """Writes what the shards hold in the input's own form."""
    found: dict[str, tuple[str, ...]] = {}
    notes: dict[str, str] = {}
    for shard in range(work.count):
        for row in _rows(work, shard):
            if "note" in row:
                notes[row["image"]] = row["note"]
            else:
                found[row["image"]] = tuple(json.dumps(region, ensure_ascii=False) for region in row["regions"])
    texts = list(work.given.texts(out, found))
    if brought := work.given.bring_pictures(out):
        logger.info("%d pictures were put beside the lines, as links where there can be such", brought)
    work.summary.unlink(missing_ok=True)  # whose checksums are those of the former texts
    for path, text in texts:  # last: where they are there, all is
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    rejects = [json.dumps({"image": name, "reason": reason}, ensure_ascii=False) for name, reason in notes.items()]
    write_text(work.folder / "rejects.jsonl", "".join(f"{line}\n" for line in rejects))
    summary = {
        "pictures": len(work.given.pictures),
        "rejected": len(notes),
        "examples": list(notes.values())[:5],
        "boxes": sum(map(len, found.values())),
        "without_boxes": sum(not regions for regions in found.values()),
        "written": {path.relative_to(out).as_posix(): _checksum(path.read_bytes()) for path, _ in texts},
    }
    write_json(work.summary, summary)
    return summary
