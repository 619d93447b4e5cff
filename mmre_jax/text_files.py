"""Text as it comes from files: UTF-8 with or without a byte-order mark, JSON that says one thing, characters that are whole.

Every text file that the library reads is read here, so that a mark at its head is never taken for a part of the first word, and what is
no text is told by file, line and field.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import pathlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from mmre_jax import storage
from mmre_jax.records import RecordError

MARK = "\ufeff"
_HALF = re.compile("[\ud800-\udfff]")
DEEPEST = 100  # lists and dictionaries in each other: what is nested far deeper can be read, but not written
SHOWN = 240  # characters of a text that a message shows
_LONG = 308  # digits that every whole number that a float can hold has at most


def shown(text: object) -> str:
    """A path, a name or what else comes from data, fit for a message: control characters and the like are escaped, and what has more than
    SHOWN characters is its two ends and their number."""
    whole, half = str(text), SHOWN // 2
    cut = whole if len(whole) <= SHOWN else f"{whole[:half]}...{whole[-half:]} ({len(whole):,} characters)"
    return "".join(x if x.isprintable() else x.encode("unicode_escape", "backslashreplace").decode() for x in cut)


def read_text(path: str | os.PathLike[str], error: type[Exception] = RecordError) -> str:
    """The text of a UTF-8 file, without the byte-order mark that it may begin with.

    Args:
      path: the file, on a disk or in a bucket.
      error: what is raised for a file that is not UTF-8.

    Raises:
      OSError: the file cannot be read.
    """
    return decode(storage.read_bytes(path), os.fspath(path), error)


def decode(data: bytes, where: str, error: type[Exception] = RecordError) -> str:
    """The text of a UTF-8 file's bytes, its lines ended by newlines alone, without the mark that it may begin with.

    Raises:
      error: naming `where` and the line, for bytes that are not UTF-8.
    """
    if is_utf16(data):
        raise error(f"{where}: not UTF-8 text but UTF-16: save it as UTF-8")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        raise error(f"{where}:{line}: not UTF-8 text ({wrong})") from wrong
    return text.lstrip(MARK).replace("\r\n", "\n").replace("\r", "\n")


def is_utf16(data: bytes) -> bool:
    """Whether these are the first bytes of a text in UTF-16: its mark, or a letter beside a zero, twice (RFC 4627, section 3)."""
    zeros = [byte == 0 for byte in data[:4]]
    return data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or zeros in ([False, True] * 2, [True, False] * 2)


def read_json(path: str | os.PathLike[str], error: type[Exception] = RecordError) -> Any:
    """The value of a JSON file, read as `parse_json` does.

    Raises:
      error: naming the file, for what is no such value.
      OSError: the file cannot be read.
    """
    return parse_json(read_text(path, error), os.fspath(path), error, what="a JSON file")


def parse_json(text: str, where: str, error: type[Exception] = RecordError, *, what: str = "a JSON value") -> Any:
    """The value of a JSON text, in which every key stands once, every number is finite, every string is made of whole characters, and
    nothing is nested more deeply than DEEPEST.

    Raises:
      error: naming `where`, and the field where there is one.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.80} stands there twice")
        return found

    try:
        value = json.loads(text, parse_int=_whole, object_pairs_hook=once)
    except (ValueError, RecursionError) as wrong:
        shown = "".join(letter if letter.isprintable() else " " for letter in text.strip()[:80])  # a terminal obeys some
        raise error(f"{where}: not {what} ({wrong}): {shown}") from wrong
    return checked(value, where, error)


def checked(value: Any, where: str, error: type[Exception] = RecordError) -> Any:
    """A value of dictionaries, lists, strings and numbers as it is, if its numbers are finite, its characters whole, and it is not nested
    more deeply than DEEPEST.

    Raises:
      error: naming `where` and the first field of which that is not so.
    """
    for field, item in _leaves(value):
        said = f", field {field!r:.120}" if field else ""
        if isinstance(item, float):
            if not math.isfinite(item):
                raise error(f"{where}{said}: {item} is not a finite number")
        elif not isinstance(item, str):
            raise error(f"{where}{said}: lists and dictionaries in each other, more than {DEEPEST} deep")
        elif half := _HALF.search(item):
            place = f"character {half.start() + 1} of {_around(item, half.start())}"
            raise error(f"{where}{said}: half of a surrogate pair, {half.group()!r} ({place}): an emoji or letter that was cut in two")
    return value


@contextlib.contextmanager
def without_marks(folder: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """The folder itself; where a file in it begins with a byte-order mark, a copy of the folder without marks, for the block's duration.

    For libraries that read text by themselves and take the mark for a part of the first word. Links stand for what is not text.
    """
    folder = pathlib.Path(folder)
    marked = [path for path in folder.iterdir() if path.is_file() and _begins_with_mark(path)]
    if not marked:
        yield folder
        return
    with tempfile.TemporaryDirectory() as copy:
        for path in folder.iterdir():
            if path in marked:
                pathlib.Path(copy, path.name).write_bytes(path.read_bytes().removeprefix(codecs.BOM_UTF8))
            else:
                pathlib.Path(copy, path.name).symlink_to(path.resolve())
        yield pathlib.Path(copy)


def check_words(words: Iterable[str], where: str) -> None:
    """Raises RecordError for words with half of a surrogate pair, which no tokenizer takes and no file can hold."""
    for i, word in enumerate(words):
        checked(word, f"{where}[{i}]")


def _begins_with_mark(path: pathlib.Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """(field, value) of every string, keys included, and of every float in a value, each named as 'mentions[0].type' is; and of what is
    nested too deeply, which is not looked into.

    Without recursion: JSON may be nested more deeply than Python's calls.
    """
    rest = [("", value, 0)]
    while rest:
        field, item, depth = rest.pop()
        if isinstance(item, float) or isinstance(item, str) and not item.isascii():
            yield field, item
        elif depth == DEEPEST and isinstance(item, (dict, list, tuple)):
            yield field, item
        elif isinstance(item, dict):
            for key, inner in reversed(item.items()):
                rest += [(f"{field}.{key}" if field else str(key), inner, depth + 1), (field, key, depth + 1)]
        elif isinstance(item, (list, tuple)):
            rest += [(f"{field}[{i}]", inner, depth + 1) for i, inner in reversed([*enumerate(item)])]


def _around(text: str, at: int) -> str:
    start = max(at - 20, 0)
    return repr(("..." if start else "") + text[start : at + 20])


def _whole(text: str) -> int | float:
    """A whole number, as a float where no float could hold it: such a one becomes infinite, and is refused as that."""
    return int(text) if len(text) <= _LONG else float(text)
