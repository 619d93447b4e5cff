"""JSON lines: the format for data of one's own, and of what was extracted. One record a line; every key but the words (or an image) is
optional.

    {"id": "post-17", "text": "Ada meets Grace in Paris", "image": "photos/17.jpg",
     "mentions": [[0, 1], "Grace", {"start": 4, "end": 5, "type": "LOC"}],
     "relations": [{"head": [0, 1], "tail": [2, 3], "label": "/per/per/peer"}, {"head": [0, 1], "tail": [4, 5]}],
     "triples": [{"mention": [0, 1], "label": "held_by", "box": [0.1, 0.2, 0.4, 0.9]}],
     "regions": [{"box": [0.1, 0.2, 0.4, 0.9], "label": "person", "score": 0.98}, {"file": "crops/17_0.png", "source": "grounded"}],
     "caption": "two women at a table", "meta": {"tweet": 17, "author": "a42"}}

(on one line in the file.) The words are "words", a list, or "text", a string, or both, where the words stand in the text in their order;
an image alone, which a detector can learn from, has neither.

A span is [start, end) in words: a pair, or a dictionary with "start", "end" and, where there are such, "type" and "score". In a dictionary
"chars", [start, end) in characters of the text (as Python counts them), may stand instead, or beside, and then both are checked against
each other; "text" is what stands there, which is checked, too. A span may also be a string that stands in the text once, as something of
its own. A text without words is split at white space if a span is given in words, and by the tokenizer (data/words.py) if all are given in
characters or as strings: any of them may then begin and end inside of a word, which is cut there; beside spans in words it may not, which
count those between white space. If there is no span it is split at white space for training, as ever, and by the tokenizer where it is
extracted from.

Boxes are [x_min, y_min, x_max, y_max], divided by the picture's width and height. A relation without a label is a pair to be predicted; its
"alternatives" are {label: probability}. A triple needs its box to be learnt from; found in a post without a picture it has none. The source
of a region is "detected" (the default), "grounded" or "gold"; gold regions with a box and a label are the objects that a detector learns.
Ids default to the file's name and line. "notes" and "masked", lists of strings, are what extraction says of a post, and nothing reads them.
What stands under "meta" is kept with the record, whatever its keys; no other key is allowed. A key with the value null is a key left out.

Files are relative to the folder of the JSON lines, or to the root given, and lie in it. Only where a user's own file is read to extract
from, to score or to make a graph of (`posts`), a file may also be an absolute path, one in a bucket, or a picture of `scenes`: what
extraction writes is read back wherever its pictures lie. A data set, which others may have made, never names a file outside of its folder.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from mmre_jax import paths, storage
from mmre_jax.data.dataset import DataSet, root_of
from mmre_jax.data.decode import PictureError, in_bucket
from mmre_jax.data.given import Given
from mmre_jax.data.pictures import inside
from mmre_jax.data.readers import fields
from mmre_jax.data.readers.spans import Text, text_of
from mmre_jax.data.words import align
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple, check_box, plain
from mmre_jax.text_files import parse_json, read_text, shown

REGION_SOURCES = ("detected", "grounded", "gold")
_KEYS = ("id", "text", "words", "image", "mentions", "relations", "triples", "regions", "caption", "notes", "masked", "meta")
_SCENE = re.compile(r"scenes:[a-z]+:\d{1,9}:[a-z]+:\d{1,9}:\d{1,4}")  # a picture's key (readers/scenes.py)


def read(path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, posts: bool = False) -> list[Record]:
    """Reads a file of JSON lines. Empty lines are passed over.

    Args:
      path: the file, on a disk or in a bucket.
      root: the folder its picture paths are relative to; the file's own if None. The pictures need not exist.
      posts: it is a user's own file of posts to extract from, or what was extracted: texts without spans are split by the tokenizer, and
        pictures may be anywhere.

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
        record = parse(line, root, where=f"{path}:{number}", default_id=f"{path.stem}-{number}", posts=posts)
        if record.id in records:
            raise RecordError(f"{path}:{number}, field 'id': {record.id!r:.80} is also the id of {records[record.id].origin}")
        records[record.id] = record
    return list(records.values())


def parse(line: str, root: str | os.PathLike[str], *, where: str, default_id: str, posts: bool = False) -> Record:
    """One line as a record. `where` names it in messages and becomes its origin; `posts` as of `read`. Raises RecordError."""
    return from_json(parse_json(line, where), root, where=where, default_id=default_id, posts=posts)


def from_json(value: Any, root: str | os.PathLike[str], *, where: str, default_id: str, posts: bool = False) -> Record:
    """`parse` of the value of a line."""
    value = fields.keys(value, _KEYS, where, "; what else is known of a record goes under 'meta'")
    said = [key for key in ("text", "words") if key in value]
    if not said and "image" not in value:
        raise RecordError(f"{where}: a record has 'text' or 'words', or is an 'image' alone")
    text = text_of(value, where, tokenize=posts)
    if said and not text.words:
        raise RecordError(f"{where}, field {said[-1]!r}: no word in it; without words a record is an 'image' alone")
    for key in ("notes", "masked"):
        fields.items(value, key, where, fields.word)
    return Record(
        id=fields.optional(value, "id", where) or default_id,
        words=text.words,
        image=_file(value, "image", root, where, posts),
        mentions=tuple(fields.items(value, "mentions", where, text.mention)),
        relations=tuple(fields.items(value, "relations", where, lambda item, at: _relation(item, text, at))),
        triples=tuple(fields.items(value, "triples", where, lambda item, at: _triple(item, text, at, posts))),
        regions=tuple(fields.items(value, "regions", where, lambda item, at: _region(item, root, at, posts))),
        caption=fields.optional(value, "caption", where),
        origin=where,
        meta=fields.dictionary(value, "meta", where),
        string=text.string,
        places=text.places,
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
    try:
        line = json.dumps(to_json(record, root), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"record {record.id}: cannot be written as JSON ({error})") from error
    parse_json(line, f"record {record.id}")
    return line


def to_json(record: Record, root: str | os.PathLike[str] | None, *, posts: bool = False) -> dict[str, Any]:
    """A record as the plain value of a line.

    Args:
      root: the folder that files are relative to.
      posts: for a file that is read so: a file outside of `root`, or any where it is None, is an absolute path, a picture that was given as
        itself (data/given.py) is left out, and each span is a dictionary with its characters, where they are known, and its text.

    Raises:
      RecordError: where not `posts`, a picture that does not lie in `root`; words whose places in the text would not be found again.
    """

    def span(mention: Mention) -> list[int] | dict[str, Any]:
        if not posts and mention.type is None and mention.score is None:
            return plain_values([mention.start, mention.end])
        found = {"start": mention.start, "end": mention.end, "type": mention.type, "score": mention.score}
        if posts:
            chars = record.characters(mention.span)
            found |= {"chars": chars and list(chars), "text": record.text(mention.span)}
        return _filled(found)

    def relation(found: Relation) -> dict[str, Any]:
        others = dict(found.alternatives) or None
        return _filled(
            {"head": span(found.head), "tail": span(found.tail), "label": found.label, "score": found.score, "alternatives": others}
        )

    def triple(found: Triple) -> dict[str, Any]:
        box = None if found.box is None else list(found.box)
        return _filled({"mention": span(found.mention), "label": found.label, "box": box, "score": found.score})

    def region(found: Region) -> dict[str, Any]:
        box, file = None if found.box is None else list(found.box), name(found.file)
        return _filled({"box": box, "file": file, "source": found.source, "label": found.label, "score": found.score})

    def name(file: str | None) -> str | None:
        return None if file is None else _anywhere(file, root) if posts else _relative(file, root, record)

    if record.string is not None and align(record.string, record.words) != record.places:
        raise RecordError(f"record {record.id}: its words do not stand at their places in its text: {record.string!r:.80}")
    value = {
        "id": record.id,
        "text": record.string,
        "words": list(record.words),
        "image": name(record.image),
        "mentions": [span(each) for each in record.mentions],
        "relations": [relation(each) for each in record.relations],
        "triples": [triple(each) for each in record.triples],
        "regions": [region(each) for each in record.regions],
        "caption": record.caption,
        "meta": dict(record.meta) or None,
    }
    return plain_values(_filled(value))


def plain_values(value: Any) -> Any:
    """`value` with Python's own numbers and lists for NumPy's, however deep they stand."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    return [plain_values(item) for item in value] if isinstance(value, list | tuple) else plain(value)


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None and not (isinstance(item, list) and not item)}


def _relative(file: str, root: str | os.PathLike[str] | None, record: Record) -> str:
    where = f"record {record.id}"
    if isinstance(file, Given) or root is None:
        raise RecordError(f"{where}: its picture was given as itself and is no file: save it, and name the file")
    name = paths.relative(root, file, where)
    paths.inside(root, name, where)  # else `read` would refuse what was written
    return name


def _anywhere(file: str, root: str | os.PathLike[str] | None) -> str | None:
    """By its name in `root` a file that lies there, else by its whole path. None for a picture that is no file."""
    if isinstance(file, Given):
        return None
    if in_bucket(file) or _SCENE.fullmatch(file):
        return file
    whole = os.path.abspath(file)
    if root is None or storage.is_remote(root):
        return whole
    try:
        paths.inside(root, name := paths.relative(os.path.abspath(root), whole, file), file)
    except RecordError:
        return whole
    return name


def _relation(item: Any, text: Text, where: str) -> Relation:
    item = fields.keys(item, ("head", "tail", "label", "score", "alternatives"), where)
    fields.needed(item, ("head", "tail"), where)
    head, tail = (text.mention(item[key], f"{where}.{key}") for key in ("head", "tail"))
    others = fields.dictionary(item, "alternatives", where)
    alternatives = tuple((label, _probability(others, label, f"{where}.alternatives")) for label in others)
    return Relation(head, tail, fields.optional(item, "label", where), fields.score(item, where), alternatives)


def _probability(others: dict[str, Any], label: str, where: str) -> float:
    found = fields.score(others, where, label)
    if found is None or not label:
        raise RecordError(f"{where}: expected a label and its probability, found {label!r:.80}: {found}")
    return found


def _triple(item: Any, text: Text, where: str, posts: bool) -> Triple:
    item = fields.keys(item, ("mention", "label", "box", "score"), where)
    fields.needed(item, ("mention", "label") if posts else ("mention", "label", "box"), where)
    mention = text.mention(item["mention"], f"{where}.mention")
    box = check_box(item["box"], f"{where}.box") if "box" in item else None
    return Triple(mention, fields.string(item, "label", where), box, fields.score(item, where))


def _region(item: Any, root: str | os.PathLike[str], where: str, posts: bool) -> Region:
    item = fields.keys(item, ("box", "file", "source", "label", "score"), where)
    if "box" not in item and "file" not in item:
        raise RecordError(f"{where}: a region has a 'box', a 'file', or both")
    source = item.get("source", "detected")
    if source not in REGION_SOURCES:
        raise RecordError(f"{where}.source is one of {', '.join(REGION_SOURCES)}, found {source!r:.80}")
    box = check_box(item["box"], f"{where}.box") if "box" in item else None
    return Region(box, _file(item, "file", root, where, posts), source, fields.optional(item, "label", where), fields.score(item, where))


def _file(value: dict[str, Any], key: str, root: str | os.PathLike[str], where: str, posts: bool) -> str | None:
    if key not in value:
        return None
    name, field = fields.string(value, key, where), f"{where}, field {key!r}"
    if posts and (in_bucket(name) or _SCENE.fullmatch(name)):
        return name
    if os.path.isabs(name) and not posts:
        raise RecordError(f"{field}: {shown(name)!r} is not a path inside {os.fspath(root)}: a data set's files lie in its folder")
    if os.path.isabs(name):
        if "\0" in name or os.path.normpath(name) != name:
            raise RecordError(f"{field}: {shown(name)!r} is not a whole path: write it without '..', '.' and doubled slashes")
        return name
    try:
        return inside(root, name, field)
    except PictureError as error:
        raise RecordError(str(error)) from error


JSONL = DataSet(
    name="jsonl",
    read=lambda data, split: read(root_of(data, buckets=True) / f"{split}.jsonl"),
    files=lambda data, split: [path for path in (root_of(data, buckets=True) / f"{split}.jsonl",) if path.is_file()],
)
