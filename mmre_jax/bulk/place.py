"""A folder that posts are extracted to: who extracts, what is wanted, what is told of it, and how one that was stopped is found again."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Protocol

from mmre_jax import file_lock
from mmre_jax.bulk.contradictions import contradiction
from mmre_jax.bulk.made import differences
from mmre_jax.bulk.posts import Given, Line, Posts
from mmre_jax.bulk.seen import Seen
from mmre_jax.extraction import KINDS, Extraction
from mmre_jax.records import Record, RecordError, Relation
from mmre_jax.text_files import parse_json, read_json
from mmre_jax.training.log import write_json

FOLDER, EXTRACTED, REJECTS, SUMMARY, SETTINGS = "extract", "extracted.jsonl", "rejects.jsonl", "summary.json", "settings.json"
SEEN = "pictures.jsonl"
RESULTS = (EXTRACTED, REJECTS, SUMMARY)
MOST = 5  # examples in a summary
_CHECKSUMS = ("input", "checkpoint", "entities", "relations")  # of the settings, which say nothing to a person


class Finder(Protocol):
    """What finds something in records: an `extract.Extractor`, or several behind each other."""

    @property
    def task(self) -> str: ...

    @property
    def none(self) -> str: ...

    def about(self) -> dict[str, str]:
        """Names all that is found depends on."""
        ...

    def calibrations(self) -> dict[str, Mapping[str, Any] | None]:
        """By the names of checkpoints, how their scores are calibrated."""
        ...

    def prepared(self, record: Record) -> Record:
        """A record as it is looked at; RecordError for one that cannot be."""
        ...

    def groups(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        """Those that are looked at together."""
        ...

    def extract_many(self, records: Iterable[Record], *, strict: bool = False, top: int = 0) -> Iterator[Extraction]:
        """What is found in each."""
        ...


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is written of what was found.

    min_score: nothing below it.  skip_none: no empty relations.  top: of each relation the probabilities of so many labels.
    strict: a picture that is missing or cannot be read ends all.
    """

    min_score: float = 0.0
    skip_none: bool = False
    top: int = 0
    strict: bool = False

    def of(self, extraction: Extraction, none: str) -> Extraction:
        """An extraction without what is not wanted. What has no score is kept."""

        def kept(found: Any) -> bool:
            empty = isinstance(found, Relation) and found.label == none
            return not (self.skip_none and empty) and (found.score is None or found.score >= self.min_score)

        return dataclasses.replace(extraction, found=tuple(filter(kept, extraction.found)))


class Source:
    """The records to extract from. A line that is no post, or none for the finder, is written to `file` when it comes; the pictures of the
    others are looked at by `seen`."""

    def __init__(self, finder: Finder, posts: Posts | Given, file: IO[str], seen: Seen | None = None) -> None:
        self.finder, self.posts, self.file, self.seen = finder, posts, file, seen
        self.rejected, self.reasons = 0, list[str]()

    def summary(self, tally: Tally) -> dict[str, Any]:
        """What stands in summary.json."""
        none = {"none": self.finder.none} if self.finder.task == "relation" else {}
        told = {"rejected": self.rejected, "reasons": self.reasons, **none, "calibration": self.finder.calibrations()}
        return {**dataclasses.asdict(tally), **told}

    def __iter__(self) -> Iterator[Record]:
        """The records, prepared."""
        for line in self.posts:
            try:
                if line.record is not None:
                    record = self.finder.prepared(line.record)
                    if self.seen is not None:
                        self.seen.look(record)
                    yield record
                    continue
            except RecordError as error:
                line = dataclasses.replace(line, reason=str(error))
            self._reject(line)

    def _reject(self, line: Line) -> None:
        told = {"file": line.file, "line": line.number, "text": line.text, "reason": line.reason}
        self.file.write(json.dumps(told, ensure_ascii=False) + "\n")
        self.rejected += 1
        self.reasons += [line.reason][: MOST - len(self.reasons)]


def accepted(finder: Finder, posts: Posts | Given) -> Iterator[Record]:
    """The records that are extracted from, as they were read."""
    for line in posts:
        if line.record is not None:
            with contextlib.suppress(RecordError):
                finder.prepared(line.record)
                yield line.record


@dataclasses.dataclass
class Tally:
    """Counts of what was extracted from: posts, what was found, posts of which a picture was masked, and the first of these; relations that
    the types of their mentions contradict (bulk/contradictions.py), and the first of these."""

    records: int = 0
    found: int = 0
    masked: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)
    contradicting: int = 0
    contradictions: list[str] = dataclasses.field(default_factory=list)

    def count(self, record: Record, row: Mapping[str, Any], kind: str) -> None:
        """Counts what was written of a record."""
        where, masked = f"{record.origin or record.id}: ", row.get("masked", [])
        self.records, self.found, self.masked = self.records + 1, self.found + len(row[kind]), self.masked + bool(masked)
        self.examples += [where + note for note in masked[:1]][: MOST - len(self.examples)]
        against = [where + said for found in row[kind] if kind == KINDS["relation"] and (said := contradiction(found))]
        self.contradicting += len(against)
        self.contradictions += against[: MOST - len(self.contradictions)]


def pass_over(file: IO[bytes], groups: Iterator[list[Record]], tally: Tally, kind: str, seen: Seen | None = None) -> list[Record]:
    """Counts the groups that a file holds whole, goes to their end in it, and returns the group that is next; [] where there is none.

    Raises:
      RecordError: where the file does not hold the lines of these records, or a picture of them is another than `seen` knows.
    """
    file.seek(0)
    end, number = 0, 0
    for group in groups:
        lines = [line for line in itertools.islice(file, len(group)) if line.endswith(b"\n")]
        rows = []
        for record, line in zip(group, lines, strict=False):
            number += 1
            rows.append(parse_json(line.decode("utf-8", "replace"), where := f"{file.name}:{number}"))
            if not _is_of(rows[-1], record, kind):
                raise RecordError(f"{where}: not what was found in {record.id!r}: the file was changed: remove it, and start again")
        if len(rows) < len(group):
            file.seek(end)
            return group
        for record, row in zip(group, rows, strict=True):
            tally.count(record, row, kind)
            if seen is not None:
                seen.check(record)
        end = file.tell()
    if file.readline():
        raise RecordError(f"{file.name}: has more lines than there are posts: the file was changed: remove it, and start again")
    return []


def _is_of(row: Any, record: Record, kind: str) -> bool:
    """Whether a line's value may be what was found in a record."""
    if not isinstance(row, dict) or row.get("id") != record.id:
        return False
    found, masked = row.get(kind), row.get("masked", [])
    return all(
        isinstance(items, list) and all(isinstance(item, type_) for item in items) for items, type_ in ((found, dict), (masked, str))
    )


def take_place(place: pathlib.Path, settings: dict[str, Any], held: contextlib.ExitStack) -> pathlib.Path:
    """Makes the folder for work in a place, and locks it until `held` is closed or the process ends. What `strict` let pass has no masked
    picture, and is the same without.

    Raises:
      RecordError: what is there was made otherwise, or elsewhere.
      OSError: another process is at work there.
    """
    folder = place / FOLDER
    path = folder / SETTINGS
    there = [place / name for name in RESULTS if (place / name).exists()]
    if there and not path.is_file():
        raise RecordError(f"{there[0]} is there already, and not from here: give another --out, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    _hold(folder, held)
    if not path.is_file() or read_json(path) == {**settings, "strict": True}:
        write_json(path, settings)
    elif said := differences(path, settings, _CHECKSUMS):
        old = ", ".join(map(str, (folder, *there)))
        raise RecordError(f"{place} holds what was extracted otherwise ({said}): give another --out, or remove {old}")
    return folder


def _hold(folder: pathlib.Path, held: contextlib.ExitStack) -> None:
    number = os.open(folder, os.O_RDONLY)
    held.callback(os.close, number)
    if not file_lock.take(number, folder, "see to it that no other program writes there"):
        raise OSError(f"{folder}: another program is at work there: wait for its end, or give another --out")


def sync(file: IO[Any]) -> None:
    """Sees to it that what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())
