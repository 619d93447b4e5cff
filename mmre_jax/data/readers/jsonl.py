"""JSON lines: the format for data of one's own. One record a line; every key but the words (or an image) is optional.

    {"id": "post-17", "text": "Ada meets Grace in Paris", "image": "photos/17.jpg",
     "mentions": [[0, 1], {"start": 4, "end": 5, "type": "LOC"}],
     "relations": [{"head": [0, 1], "tail": [2, 3], "label": "/per/per/peer"}, {"head": [0, 1], "tail": [4, 5]}],
     "triples": [{"mention": [0, 1], "label": "held_by", "box": [0.1, 0.2, 0.4, 0.9]}],
     "regions": [{"box": [0.1, 0.2, 0.4, 0.9], "label": "person", "score": 0.98}, {"file": "crops/17_0.png", "source": "grounded"}],
     "caption": "two women at a table", "meta": {"tweet": 17, "author": "a42"}}

(on one line in the file.) The words are "text", split at white space, or "words", a list; an image alone, which a detector can learn from,
has neither. Spans are [start, end) in words: a pair, or a dictionary with "type" and "score" where there are such. Boxes are [x_min, y_min,
x_max, y_max], divided by the picture's width and height. A relation without a label is a pair to be predicted. Files are relative to the
folder of the JSON lines, or to the root given. The source of a region is "detected" (the default), "grounded" or "gold"; gold regions with
a box and a label are the objects that a detector learns. Ids default to the file's name and line. What stands under "meta" is kept with
the record, whatever its keys; no other key is allowed. A key with the value null is a key left out.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from mmre_jax import paths, storage
from mmre_jax.data.dataset import DataSet, root_of
from mmre_jax.data.decode import PictureError
from mmre_jax.data.pictures import inside
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple, as_number, check_box, check_span, plain
from mmre_jax.text_files import parse_json, read_text

REGION_SOURCES = ("detected", "grounded", "gold")
_KEYS = ("id", "text", "words", "image", "mentions", "relations", "triples", "regions", "caption", "meta")
T = TypeVar("T")


def read(path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> list[Record]:
    """Reads a file of JSON lines. Empty lines are passed over.

    Args:
      path: the file, on a disk or in a bucket.
      root: the folder its picture paths are relative to; the file's own if None. The pictures need not exist.

    Raises:
      RecordError: the file is missing, or a line breaks the format; names file, line, field, and what was expected.
    """
    path = storage.path(path)
    root = path.parent if root is None else root
    try:
        lines = read_text(path).split("\n")
    except FileNotFoundError as error:
        there = sorted(file.name for file in path.parent.glob("*.jsonl")) if path.parent.is_dir() else []
        raise RecordError(f"{path}: no such file; JSON lines there are: {', '.join(there) or 'none'}") from error
    records: dict[str, Record] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = parse(line, root, where=f"{path}:{number}", default_id=f"{path.stem}-{number}")
        if record.id in records:
            raise RecordError(f"{path}:{number}, field 'id': {record.id!r} is also the id of {records[record.id].origin}")
        records[record.id] = record
    return list(records.values())


def parse(line: str, root: str | os.PathLike[str], *, where: str, default_id: str) -> Record:
    """One line as a record. `where` names it in messages and becomes its origin. Raises RecordError."""
    value = _keys(parse_json(line, where), _KEYS, where, "; what else is known of a record goes under 'meta'")
    said = [key for key in ("text", "words") if key in value]
    if len(said) > 1 or not said and "image" not in value:
        raise RecordError(f"{where}: a record has either 'text' or 'words', or is an 'image' alone")
    words = _string(value, "text", where).split() if "text" in value else _list(value, "words", where, _word)
    if said and not words:
        raise RecordError(f"{where}: a record has at least one word, or none of 'text' and 'words' and an 'image'")
    n = len(words)
    return Record(
        id=_optional(value, "id", where) or default_id,
        words=tuple(words),
        image=_file(value, "image", root, where),
        mentions=tuple(_list(value, "mentions", where, lambda item, at: _mention(item, n, at))),
        relations=tuple(_list(value, "relations", where, lambda item, at: _relation(item, n, at))),
        triples=tuple(_list(value, "triples", where, lambda item, at: _triple(item, n, at))),
        regions=tuple(_list(value, "regions", where, lambda item, at: _region(item, root, at))),
        caption=_optional(value, "caption", where),
        origin=where,
        meta=_meta(value, where),
    )


def write(records: Iterable[Record], path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> None:
    """Writes records so that `read` with the same `root` gives them back (but for `origin`, which is where they were read).

    Raises:
      RecordError: a picture of theirs does not lie in `root`, the file's folder if None, or what is written is no JSON or no text.
    """
    path = pathlib.Path(path)
    root = path.parent if root is None else pathlib.Path(root)
    lines = [format_record(record, root) + "\n" for record in records]
    path.write_text("".join(lines), "utf-8", newline="\n")


def format_record(record: Record, root: str | os.PathLike[str]) -> str:
    """One record as a line, without its end. Raises RecordError as `write` does."""
    value = {
        "id": record.id,
        "words": list(record.words),
        "image": _relative(record.image, root, record),
        "mentions": [_span(mention) for mention in record.mentions],
        "relations": [
            _filled({"head": _span(r.head), "tail": _span(r.tail), "label": r.label, "score": r.score}) for r in record.relations
        ],
        "triples": [_filled({"mention": _span(t.mention), "label": t.label, "box": list(t.box), "score": t.score}) for t in record.triples],
        "regions": [_region_json(region, root, record) for region in record.regions],
        "caption": record.caption,
        "meta": dict(record.meta) or None,
    }
    try:
        line = json.dumps(_filled(value), ensure_ascii=False, allow_nan=False, default=plain)
    except (TypeError, ValueError) as error:
        raise RecordError(f"record {record.id}: cannot be written as JSON ({error})") from error
    parse_json(line, f"record {record.id}")
    return line


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None and not (isinstance(item, list) and not item)}


def _span(mention: Mention) -> list[int] | dict[str, Any]:
    if mention.type is None and mention.score is None:
        return [mention.start, mention.end]
    return _filled({"start": mention.start, "end": mention.end, "type": mention.type, "score": mention.score})


def _region_json(region: Region, root: str | os.PathLike[str], record: Record) -> dict[str, Any]:
    box = None if region.box is None else list(region.box)
    file = _relative(region.file, root, record)
    return _filled({"box": box, "file": file, "source": region.source, "label": region.label, "score": region.score})


def _relative(file: str | None, root: str | os.PathLike[str], record: Record) -> str | None:
    if file is None:
        return None
    name = paths.relative(root, file, where := f"record {record.id}")
    paths.inside(root, name, where)  # else `read` would refuse what was written
    return name


def _mention(item: Any, words: int, where: str) -> Mention:
    if isinstance(item, list):
        if len(item) != 2:
            raise RecordError(f"{where}: a span is [start, end], found {item!r:.80}")
        return Mention(*check_span(*item, words, where))
    item = _keys(item, ("start", "end", "type", "score"), where)
    start, end = check_span(item.get("start"), item.get("end"), words, where)
    return Mention(start, end, _optional(item, "type", where), _score(item, where))


def _relation(item: Any, words: int, where: str) -> Relation:
    item = _keys(item, ("head", "tail", "label", "score"), where)
    _needed(item, ("head", "tail"), where)
    head, tail = (_mention(item[key], words, f"{where}.{key}") for key in ("head", "tail"))
    return Relation(head, tail, _optional(item, "label", where), _score(item, where))


def _triple(item: Any, words: int, where: str) -> Triple:
    item = _keys(item, ("mention", "label", "box", "score"), where)
    _needed(item, ("mention", "label", "box"), where)
    mention, box = _mention(item["mention"], words, f"{where}.mention"), check_box(item["box"], f"{where}.box")
    return Triple(mention, _string(item, "label", where), box, _score(item, where))


def _region(item: Any, root: str | os.PathLike[str], where: str) -> Region:
    item = _keys(item, ("box", "file", "source", "label", "score"), where)
    if "box" not in item and "file" not in item:
        raise RecordError(f"{where}: a region has a 'box', a 'file', or both")
    source = item.get("source", "detected")
    if source not in REGION_SOURCES:
        raise RecordError(f"{where}.source is one of {', '.join(REGION_SOURCES)}, found {source!r}")
    box = check_box(item["box"], f"{where}.box") if "box" in item else None
    return Region(box, _file(item, "file", root, where), source, _optional(item, "label", where), _score(item, where))


def _keys(value: Any, valid: Sequence[str], where: str, hint: str = "") -> dict[str, Any]:
    """`value` without the keys that are null, if it is a dictionary with valid keys."""
    if not isinstance(value, dict):
        raise RecordError(f"{where}: expected a dictionary with {', '.join(valid)}, found {value!r:.80}")
    if unknown := sorted(set(value) - set(valid)):
        raise RecordError(f"{where}: unknown key {', '.join(map(repr, unknown))}; valid are {', '.join(valid)}{hint}")
    return {key: item for key, item in value.items() if item is not None}


def _needed(value: dict[str, Any], needed: Sequence[str], where: str) -> None:
    if lacking := [key for key in needed if key not in value]:
        raise RecordError(f"{where}: no key {', '.join(map(repr, lacking))}")


def _meta(value: dict[str, Any], where: str) -> dict[str, Any]:
    found = value.get("meta", {})
    if not isinstance(found, dict):
        raise RecordError(f"{where}, field 'meta': expected a dictionary, found {found!r:.80}")
    return found


def _list(value: dict[str, Any], key: str, where: str, item: Callable[[Any, str], T]) -> list[T]:
    found = value.get(key, [])
    if not isinstance(found, list):
        raise RecordError(f"{where}, field {key!r}: expected a list, found {found!r:.80}")
    return [item(entry, f"{where}, field {key}[{i}]") for i, entry in enumerate(found)]


def _word(item: Any, where: str) -> str:
    if not isinstance(item, str) or not item:  # a tweet's word may be a no-break space
        raise RecordError(f"{where}: expected a word that is not empty, found {item!r}")
    return item


def _string(value: dict[str, Any], key: str, where: str) -> str:
    if not isinstance(value[key], str) or not value[key]:
        raise RecordError(f"{where}, field {key!r}: expected a string that is not empty, found {value[key]!r:.80}")
    return value[key]


def _optional(value: dict[str, Any], key: str, where: str) -> str | None:
    return _string(value, key, where) if key in value else None


def _score(value: dict[str, Any], where: str) -> float | None:
    score = as_number(value.get("score"))
    if "score" in value and score is None:
        raise RecordError(f"{where}, field 'score': expected a number, found {value['score']!r:.80}")
    return score


def _file(value: dict[str, Any], key: str, root: str | os.PathLike[str], where: str) -> str | None:
    try:
        return inside(root, _string(value, key, where), f"{where}, field {key!r}") if key in value else None
    except PictureError as error:
        raise RecordError(str(error)) from error


JSONL = DataSet(
    name="jsonl",
    read=lambda data, split: read(root_of(data, buckets=True) / f"{split}.jsonl"),
    files=lambda data, split: [path for path in (root_of(data, buckets=True) / f"{split}.jsonl",) if path.is_file()],
)
