"""The format of a prepared data set: what stands in its array_record files, and how a Record and a picture's key look there.

    DIR/prepare.json          what was prepared, from what, and what was missing; written last, so without it nothing is finished
    DIR/records/1.0.0/        TFDS data set with the splits that were prepared, a row per record
    DIR/pictures/KIND.npy     the photos and crops of a resize rule and side, KIND: an array that is mapped into memory (arrays.py)
    DIR/pictures/1.0.0/       instead, as PNG: TFDS data set with the split "pictures", a row per photo or crop; absent where none was found
    DIR/pictures.json         {key of a picture: its row}

A picture is stored once, at one size and resize rule, under a key made of both, its file and its box. In format 1 pictures that are not
PNG are in the TFDS data set, too.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmre_jax import paths
from mmre_jax.data.pictures import PicturePlan, Slot, Source, plan_from_json
from mmre_jax.records import Box, Mention, Record, RecordError, Region, Relation, Triple, plain
from mmre_jax.text_files import parse_json, read_json

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

FORMAT = 2
READ = (1, FORMAT)
VERSION = "1.0.0"
ENCODINGS = ("raw", "png")
PICTURES = "pictures"  # folder, and split of the TFDS data set
_NO_BOX = (math.nan,) * 4


class PreparedError(RecordError):
    """A prepared data set that cannot be made, or is not what is asked for. The message names the folder or record."""


def record_features() -> tfds.features.FeaturesDict:
    """Features of a record's row. An empty string or NaN stands for None; n mentions are n spans, n types, n scores; and so on."""
    import tensorflow_datasets as tfds  # slow to import

    text, texts = tfds.features.Text(), tfds.features.Sequence(tfds.features.Text())
    # tf.train.Example has no float64: as bytes the numbers stay exact.
    scores = tfds.features.Tensor(shape=(None,), dtype=np.float64, encoding="bytes")
    boxes = tfds.features.Tensor(shape=(None, 4), dtype=np.float64, encoding="bytes")
    spans = tfds.features.Tensor(shape=(None, 2), dtype=np.int64)
    mentions = {"spans": spans, "types": texts, "scores": scores}
    return tfds.features.FeaturesDict(
        {
            "id": text,
            "words": texts,
            "image": text,
            "caption": text,
            "origin": text,
            "dangling": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            "meta": text,
            "mentions": mentions,
            "relations": {"heads": mentions, "tails": mentions, "labels": texts, "scores": scores},
            "triples": {"mentions": mentions, "labels": texts, "boxes": boxes, "scores": scores},
            "regions": {"boxes": boxes, "files": texts, "sources": texts, "labels": texts, "scores": scores},
        }
    )


def picture_features() -> tfds.features.FeaturesDict:
    """Features of a picture's row: its key, and its pixels, uint8 [side, side, 3], as PNG."""
    import tensorflow_datasets as tfds  # slow to import

    pixels = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
    return tfds.features.FeaturesDict({"key": tfds.features.Text(), "pixels": pixels})


def encode_record(record: Record, root: str | None) -> dict[str, Any]:
    """A record's row. Its files are stored relative to `root` (as they are if None); its words, not the text that they are of.

    Raises:
      PreparedError: the record would not come back as it is: a file outside `root`, or an empty string or NaN in place of a None.
    """
    row = {
        "id": record.id,
        "words": list(record.words),
        "image": _relative(record.image, root, f"record {record.id}"),
        "caption": record.caption or "",
        "origin": record.origin,
        "dangling": np.array(record.dangling, np.int64),
        "meta": _json(record),
        "mentions": _mentions(record.mentions),
        "relations": {
            "heads": _mentions([relation.head for relation in record.relations]),
            "tails": _mentions([relation.tail for relation in record.relations]),
            "labels": [relation.label or "" for relation in record.relations],
            "scores": _scores(record.relations),
        },
        "triples": {
            "mentions": _mentions([triple.mention for triple in record.triples]),
            "labels": [triple.label for triple in record.triples],
            "boxes": _boxes(triple.box for triple in record.triples),
            "scores": _scores(record.triples),
        },
        "regions": {
            "boxes": _boxes(region.box for region in record.regions),
            "files": [_relative(region.file, root, f"record {record.id}") for region in record.regions],
            "sources": [region.source for region in record.regions],
            "labels": [region.label or "" for region in record.regions],
            "scores": _scores(record.regions),
        },
    }
    if decode_record(row, root) != dataclasses.replace(record, string=None, places=()):
        raise PreparedError(
            f"record {record.id}: has an empty string, or a number that is not finite, where there may be none, or a meta that JSON would "
            f"change: {record}"
        )
    return row


def decode_record(row: Mapping[str, Any], root: str | None, folder: str = "") -> Record:
    """The record of a row. `root` is put before its files again.

    Args:
      folder: of the prepared data set, for messages.

    Raises:
      PreparedError: naming the record: a file of its leads out of `root`.
    """
    where = f"{folder}{': ' if folder else ''}record {_text(row['id'])}"
    relations, triples, regions = row["relations"], row["triples"], row["regions"]
    heads, tails, mentions = (_read_mentions(part) for part in (relations["heads"], relations["tails"], triples["mentions"]))
    texts = {name: _texts(part["labels"]) for name, part in (("relations", relations), ("triples", triples), ("regions", regions))}
    files, found_by = [_absolute(name, root, where) for name in _texts(regions["files"])], _texts(regions["sources"])
    return Record(
        id=_text(row["id"]) or "",
        words=tuple(word or "" for word in _texts(row["words"])),
        image=_absolute(_text(row["image"]), root, where),
        mentions=tuple(_read_mentions(row["mentions"])),
        relations=tuple(map(Relation, heads, tails, texts["relations"], _read_scores(relations["scores"]))),
        triples=tuple(map(Triple, mentions, texts["triples"], _read_boxes(triples["boxes"]), _read_scores(triples["scores"]))),
        regions=tuple(map(Region, _read_boxes(regions["boxes"]), files, found_by, texts["regions"], _read_scores(regions["scores"]))),
        caption=_text(row["caption"]),
        origin=_text(row["origin"]) or "",
        dangling=tuple(np.asarray(row.get("dangling", ())).tolist()),  # sets that were prepared before it was kept have none
        meta=parse_json(
            _text(row.get("meta", "")) or "{}", f"{where}, meta", PreparedError
        ),  # a set prepared before there was a meta has none
    )


def picture_key(places: Sequence[Source], slot: Slot, root: str | None) -> str:
    """The key of the picture that `pictures.sources` finds at `places`, at the slot's size and resize rule."""
    return f"{kind_of(slot)}:" + "|".join(_place(place, root) for place in places)


def kind_of(slot: Slot) -> str:
    """What pictures have in common that are stored together: their resize rule and side."""
    return f"{slot.resize}{slot.side}"


def check_names(where: str, root: object, splits: Sequence[str]) -> None:
    """Raises PreparedError for a root that leads upwards, or a split whose name is none: both become parts of paths."""
    if root is not None and (not isinstance(root, str) or not root or ".." in pathlib.PurePath(root).parts):
        raise PreparedError(f"{where}: root is null or a path without '..', found {root!r:.200}")
    if odd := [name for name in splits if not re.fullmatch(r"[\w-]+", name)]:
        raise PreparedError(f"{where}: a split's name is letters, digits, '_' and '-', found {odd[0]!r:.80}")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What `prepare.json` says of a prepared folder that later reading needs.

    about: what `prepare` was told of the data set.  arrays: pictures are in arrays, not in a TFDS data set.
    checksum: of the arrays' pictures, '' where there are none.
    """

    folder: str
    root: str | None
    plan: PicturePlan
    splits: tuple[str, ...]
    about: dict[str, Any]
    arrays: bool
    checksum: str

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Contents:
        """Reads DIR/prepare.json.

        Raises:
          PreparedError: it is missing, of another format, or damaged, or `check_names` refuses its names.
        """
        path = pathlib.Path(folder, "prepare.json")
        try:
            value = read_json(path, PreparedError)
        except FileNotFoundError as error:
            raise PreparedError(f"{folder}: no prepare.json: not a prepared data set, or one whose making was interrupted") from error
        if not isinstance(value, dict) or value.get("format") not in READ:
            raise PreparedError(f"{path}: not in a format up to {FORMAT}: prepare the data set again")
        root, splits, about = (value.get(name) for name in ("root", "splits", "about"))
        if not isinstance(splits, dict):
            raise PreparedError(f"{path}: splits are a dictionary, found {splits!r:.200}")
        check_names(str(path), root, tuple(splits))
        if not isinstance(about, dict):
            raise PreparedError(f"{path}: about is a dictionary, found {about!r:.200}")
        try:
            plan = plan_from_json(value["plan"])
        except (LookupError, TypeError, ValueError) as error:
            raise PreparedError(f"{path}: plan: {error}") from error
        arrays, checksum = False, ""
        if value["format"] == FORMAT:
            stored, arrays = value.get("pictures"), value.get("encoding") == "raw"
            checksum = stored.get("checksum") if isinstance(stored, dict) else None
            if value.get("encoding") not in ENCODINGS or not isinstance(checksum, str):
                raise PreparedError(f"{path}: expected encoding, one of {', '.join(ENCODINGS)}, and pictures with their checksum")
        return cls(os.fspath(folder), root, plan, tuple(splits), about, arrays, checksum)

    def check_split(self, split: str) -> None:
        """Raises PreparedError if the split was not prepared."""
        if split not in self.splits:
            raise PreparedError(f"{self.folder}: no split {split!r}; prepared are {', '.join(self.splits)}")

    def check_plan(self, plan: PicturePlan) -> None:
        """Raises PreparedError if the folder lacks pictures that `plan` asks for. Means and deviations do not matter here."""
        for slot in plan:
            fits = [s for s in self.plan if (s.source, s.side, s.resize) == (slot.source, slot.side, slot.resize) and s.count >= slot.count]
            if not fits:
                have = "; ".join(f"{s.count} {s.source} {s.resize} {s.side}" for s in self.plan) or "none"
                wanted = f"{slot.count} {slot.source} {slot.resize} {slot.side}"
                raise PreparedError(f"{self.folder}: prepared without the pictures of slot {slot.name!r} ({wanted}); it has {have}")


def _json(record: Record) -> str:
    """A record's `meta` as JSON, '' where there is nothing in it."""
    try:
        return json.dumps(record.meta, ensure_ascii=False, allow_nan=False, default=plain) if record.meta else ""
    except (TypeError, ValueError) as error:
        raise PreparedError(f"record {record.id}: its meta cannot be written as JSON ({error})") from error


def _mentions(mentions: Sequence[Mention]) -> dict[str, Any]:
    spans = np.array([mention.span for mention in mentions], np.int64).reshape(-1, 2)
    return {"spans": spans, "types": [mention.type or "" for mention in mentions], "scores": _scores(mentions)}


def _read_mentions(columns: Mapping[str, Any]) -> list[Mention]:
    rows = zip(np.asarray(columns["spans"]).tolist(), _texts(columns["types"]), _read_scores(columns["scores"]), strict=True)
    return [Mention(start, end, kind, score) for (start, end), kind, score in rows]


def _scores(items: Iterable[Mention | Relation | Triple | Region]) -> np.ndarray:
    return np.array([math.nan if item.score is None else item.score for item in items], np.float64)


def _read_scores(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in np.asarray(values).tolist()]


def _boxes(boxes: Iterable[Box | None]) -> np.ndarray:
    return np.array([_NO_BOX if box is None else box for box in boxes], np.float64).reshape(-1, 4)


def _read_boxes(values: np.ndarray) -> list[Any]:
    return [None if math.isnan(box[0]) else tuple(box) for box in np.asarray(values).tolist()]


def _text(value: str | bytes) -> str | None:
    return (value.decode("utf-8") if isinstance(value, bytes) else value) or None


def _texts(values: Iterable[str | bytes]) -> list[Any]:
    return [_text(value) for value in values]


def _relative(file: str | None, root: str | None, where: str) -> str:
    """How a file is stored: relative to the root; without one it is a key, and as it is."""
    if file is None or root is None:
        return file or ""
    return paths.relative(root, file, where, PreparedError)


def _absolute(name: str | None, root: str | None, where: str) -> str | None:
    if name is None or root is not None:
        return None if name is None else paths.inside(root, name, where, PreparedError)
    if paths.leads_out(name):
        raise PreparedError(f"{where}: {name!r} is a path, but the data set was prepared without a root, from keys")
    return name


# Crops are of one photo, and photos come again in the records that follow.
_file = functools.lru_cache(maxsize=4096)(functools.partial(_relative, where="a picture"))


def _place(place: Source, root: str | None) -> str:
    file = _file(place.file, root)
    return file if place.box is None else f"{file}#{','.join(map(repr, place.box))}"
