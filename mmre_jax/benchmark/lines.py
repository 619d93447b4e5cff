"""How a benchmark talks to a process of its own: a line of JSON in, a line of JSON out. Of the standard library alone, since the other
process may have nothing of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class SideError(RuntimeError):
    """A process that could not do as it was told, or has ended."""


def answer(known: Mapping[str, Callable[..., Any]]) -> None:
    """Does what each line of stdin says, {"do": one of `known`, and its arguments}, until there is none, and writes {"done": RESULT} or
    {"failed": MESSAGE} to stdout. What else is printed goes to stderr."""
    sys.stdout.flush()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            found = {"done": known[order.pop("do")](**order)}
        except Exception as error:  # noqa: BLE001  told on the other side, where it is raised again
            found = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
        told.write(json.dumps(found) + "\n")
        told.flush()


class Side:
    """A process that answers. To be closed, or used as a context."""

    def __init__(
        self, name: str, command: Sequence[str], *, folder: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts it.

        Args:
          name: what errors call it.
          folder: where it runs; here if None.
          environment: of it, beside this process's.
        """
        self.name = name
        surroundings = {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=surroundings
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """What the process answers to an order.

        Raises:
          SideError: it failed, or has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise SideError(f"{self.name}: has ended before {do!r}, see its message above") from error
        line = self._process.stdout.readline()
        if not line:
            raise SideError(f"{self.name}: ended at {do!r} with status {self._process.wait()}, see its message above")
        found = json.loads(line)
        if "failed" in found:
            raise SideError(f"{self.name}: {do}: {found['failed']}")
        return found["done"]

    def close(self) -> None:
        """Lets it end."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
