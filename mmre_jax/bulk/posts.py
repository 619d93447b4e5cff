"""The posts of files of JSON lines, one after the other: a line that cannot be read is told of, and passed over."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence

from mmre_jax import storage
from mmre_jax.data.readers import jsonl
from mmre_jax.records import Record, RecordError
from mmre_jax.text_files import MARK, is_utf16

_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a file: a post, or why it is none."""

    file: str
    number: int
    text: str
    record: Record | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Posts:
    """JSON lines (data/readers/jsonl.py) in files, of which pictures' paths are relative to their folder."""

    files: tuple[pathlib.Path, ...]

    def look(self) -> tuple[str, int]:
        """A checksum of the files with their names, and how many lines they have."""
        total, lines = hashlib.blake2b(digest_size=16), 0
        for path in self.files:
            total.update(f"{path.name}\n".encode())
            with storage.at_hand(path) as here, here.open("rb") as file:
                last = b"\n"
                while block := file.read(_BLOCK):
                    total.update(block)
                    lines, last = lines + block.count(b"\n"), block[-1:]
            lines += last != b"\n"
        return total.hexdigest(), lines

    def __iter__(self) -> Iterator[Line]:
        """The lines that are not empty. One with an id that a line before it has is no post."""
        known: set[bytes] = set()
        for path in self.files:
            with storage.at_hand(path) as here, here.open(encoding="utf-8", errors="surrogateescape") as file:
                for number, line in enumerate(file, 1):
                    if line := (line.lstrip(MARK) if number == 1 else line).strip():
                        yield _read(path, number, line, known)


def _read(path: pathlib.Path, number: int, text: str, known: set[bytes]) -> Line:
    where = f"{path}:{number}"
    line = Line(os.fspath(path), number, text)
    data = text.encode("utf-8", "surrogateescape")
    try:
        said = "but UTF-16: save it as UTF-8" if is_utf16(data) else ""
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        said = said or f"({error})"
    if said:
        return dataclasses.replace(line, text=data.decode("utf-8", "replace"), reason=f"{where}: not UTF-8 text {said}")
    try:
        record = jsonl.parse(text, path.parent, where=where, default_id=f"{path.stem}-{number}", posts=True)
    except RecordError as error:
        return dataclasses.replace(line, reason=str(error))
    name = hashlib.blake2b(record.id.encode(), digest_size=16).digest()
    if name in known:
        return dataclasses.replace(line, reason=f"{where}, field 'id': {record.id!r} is also the id of a line before")
    known.add(name)
    return dataclasses.replace(line, record=record)


@dataclasses.dataclass(frozen=True)
class Given:
    """Records that are there already, under a name that says which."""

    name: str
    records: Sequence[Record]

    def look(self) -> tuple[str, int]:
        """As `Posts.look`."""
        return self.name, len(self.records)

    def __iter__(self) -> Iterator[Line]:
        """A line for each record."""
        return (Line(self.name, number, "", record) for number, record in enumerate(self.records, 1))


def find(path: str | os.PathLike[str]) -> Posts:
    """The posts of a file of JSON lines, or of all *.jsonl of a folder, in the order of their names.

    Raises:
      RecordError: there is no such file, it is a pipe or the like, which cannot be read twice, or the folder has none.
    """
    path = storage.path(path)
    if storage.is_dir(path):
        if not (files := tuple(sorted(path.glob("*.jsonl")))):
            raise RecordError(f"{path}: no *.jsonl is in this folder")
        return Posts(files)
    if storage.size(os.fspath(path)) is None:
        there = sorted(file.name for file in path.parent.glob("*.jsonl")) if storage.is_dir(path.parent) else []
        raise RecordError(f"{path}: no such file; JSON lines there are: {', '.join(there) or 'none'}")
    if not storage.is_remote(path) and not path.is_file():
        raise RecordError(f"{path}: posts are read more than once, and this is no file: save them to one")
    return Posts((path,))
