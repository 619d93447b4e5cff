"""What the pictures of posts were like when these were extracted from, so that one that was changed since is noticed."""

from __future__ import annotations

import contextlib
import json
import pathlib

from mmre_jax.data.picture_stamps import size_and_time
from mmre_jax.records import Record, RecordError
from mmre_jax.text_files import parse_json, shown


class Seen:
    """Notes size and time of the pictures of posts in a file, a line for each post that has any; those in buckets are not looked at.

    path: the file, of which what was noted before is kept.  held: what closes it.
    """

    def __init__(self, path: pathlib.Path, held: contextlib.ExitStack) -> None:
        self.path = path
        self._file = held.enter_context(path.open("a+b", buffering=0))  # nothing of it is lost with the program
        self._file.seek(0)
        *lines, torn = self._file.read().split(b"\n")
        self._file.truncate(self._file.tell() - len(torn))
        self._before: dict[str, list[str]] = dict(parse_json(line.decode(), f"{path}:{n}") for n, line in enumerate(lines, 1))
        self._now: dict[str, list[str]] = {}

    def look(self, record: Record) -> None:
        """Looks at the pictures of a post, before they are read; `check` or `note` is to follow."""
        self._now[record.id] = [size_and_time(file) for file in _files(record)]

    def check(self, record: Record) -> None:
        """Of a post that was extracted from. Raises RecordError where a picture of it is another than was noted."""
        now = self._now.pop(record.id)
        for file, old, new in zip(_files(record), self._before.get(record.id, now), now, strict=False):
            if old != new:
                raise RecordError(
                    f"{record.origin or record.id}: the picture {shown(file)} was changed since the post was extracted from: give another "
                    f"--out, or, if the picture is the same, remove {self.path}, without which none is compared"
                )

    def note(self, record: Record) -> None:
        """Of a post that something is about to be written of."""
        if any(now := self._now.pop(record.id)):
            self._file.write(f"{json.dumps([record.id, now])}\n".encode())


def _files(record: Record) -> list[str]:
    return [file for file in (record.image, *(region.file for region in record.regions)) if file is not None]
