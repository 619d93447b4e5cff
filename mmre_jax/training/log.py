"""What a run writes for people and programs to follow: metrics.jsonl, TensorBoard, JSON files.

A bucket's objects cannot be appended to: there the rows are kept, and written whole at each evaluation, in front of each checkpoint, at the
end, and else once a minute.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from mmre_jax import storage
from mmre_jax.records import RecordError, plain
from mmre_jax.text_files import read_text
from mmre_jax.training import events

EACH = 60.0  # seconds between two times that rows are written to a bucket


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file whole or not at all; on the first process only."""
    if jax.process_index():
        return
    with _named(path):
        storage.write_bytes(path, text.encode("utf-8"))


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file as `write_text` does."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=plain) + "\n")


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
    """What cannot be written, on a full disk for one, names its file."""
    try:
        yield
    except OSError as error:
        if isinstance(error, storage.StorageError):  # which names it
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_json(path: pathlib.Path) -> Any:
    """What `write_json` wrote, None where there is nothing.

    Raises:
      RecordError: naming the file, where it is damaged.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise RecordError(f"{path}: damaged, no JSON file ({error})") from error


def scalars(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a nested mapping under slash-joined names; per_relation tables are left out."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {} if name == "per_relation" else scalars(value, f"{prefix}{name}/")
        elif isinstance(value := plain(value), (int, float)):
            found[prefix + name] = float(value)
    return found


def read_rows(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl; a line cut off by a crash is left out."""
    path = storage.path(workdir) / "metrics.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in read_text(path).split("\n")[:-1] if line]


class MetricLog:
    """Rows {"step": n, ...} appended to metrics.jsonl and to TensorBoard's event file. A context manager; first process only.

    Args:
      workdir: the run's folder.
      check: called in front of `flush`; where it raises nothing is written.
    """

    def __init__(self, workdir: pathlib.Path, check: Callable[[], None] = lambda: None) -> None:
        self.path = workdir / "metrics.jsonl"
        self._check = check
        self._first = jax.process_index() == 0
        self._board: events.Board | None = None  # made at the first row, behind `truncate`
        self._kept: list[str] | None = None  # in a bucket: all lines
        self._written = time.monotonic()

    def __enter__(self) -> MetricLog:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            if self._board is not None:
                self._board.close()

    @property
    def _folder(self) -> pathlib.Path:
        return self.path.parent / "tensorboard"

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        return read_rows(self.path.parent)

    def truncate(self, step: int) -> None:
        """Forgets rows and events behind `step`, which a run that starts from there writes again. To be called before `write`."""
        if not self._first:
            return
        events.forget(self._folder, step)
        if self.path.is_file():
            kept = [row for row in self.rows() if row["step"] <= step]
            write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """One row."""
        if not self._first:
            return
        self._append(json.dumps({"step": step, **values}, ensure_ascii=False, default=plain) + "\n")
        with _named(self._folder):
            if self._board is None:
                self._board = events.Board(self._folder)
            self._board.write(step, scalars(values))
        if self._kept is not None and ("val" in values or time.monotonic() > self._written + EACH):
            self.flush()

    def flush(self) -> None:
        """Writes to a bucket what it does not have yet; on a disk everything is there at once."""
        if not self._first:
            return
        self._check()
        if self._kept:
            write_text(self.path, "".join(self._kept))
            if self._board is not None:
                self._board.flush()
            self._written = time.monotonic()

    def _append(self, line: str) -> None:
        if not storage.is_remote(self.path):
            with _named(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(line)
            return
        if self._kept is None:
            self._kept = read_text(self.path).splitlines(keepends=True) if self.path.is_file() else []
        self._kept.append(line)
