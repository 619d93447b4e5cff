"""Requests as batches of an OpenAI-compatible server take them: JSON lines, in files of a bounded size.

A line is {"custom_id", "method", "url", "body"}, the body that of a chat completion. A file holds at most 50,000 requests and 200 MB, and
all its requests name one model (OpenAI, Batch API, "Create batch" and "request input object"); other servers may take less.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

from mmre_jax import storage

URL = "/v1/chat/completions"
REQUESTS = 50_000  # of a file
MEGABYTES = 200  # of a file, of 10**6 bytes


def line(number: int, body: str) -> tuple[str, bytes]:
    """(custom id, line) of a request, whose custom id holds the checksum of its body.

    Args:
      number: of the record in its split, from 0.
      body: JSON in ASCII, so that no reader takes a character in it for the end of a line.
    """
    name = f"{number:06d}-{hashlib.sha256(body.encode('ascii')).hexdigest()[:16]}"
    return name, f'{{"custom_id": "{name}", "method": "POST", "url": "{URL}", "body": {body}}}\n'.encode("ascii")


class Files:
    """Writes lines into requests-1.jsonl, requests-2.jsonl and so on. Each is written whole or not at all, when it is full or at `close`.

    Args:
      folder: where to.
      requests, size: at most so many, and so many bytes, a file.
    """

    def __init__(self, folder: pathlib.Path, requests: int = REQUESTS, size: int = MEGABYTES * 10**6) -> None:
        self._folder, self._requests, self._limit = folder, requests, size
        self._lines: list[bytes] = []
        self._size = 0
        self.written: list[dict[str, Any]] = []

    def add(self, line: bytes, what: str) -> None:
        """Adds a request.

        Raises:
          ValueError: naming `what` is asked about, where the request alone is larger than a file may be.
          OSError: a file cannot be written.
        """
        if len(line) > self._limit:
            raise ValueError(f"{what}: its request has {len(line):,} bytes, and a file at most {self._limit:,}: fewer or smaller pictures?")
        if len(self._lines) == self._requests or self._size + len(line) > self._limit:
            self.close()
        self._lines.append(line)
        self._size += len(line)

    def close(self) -> list[dict[str, Any]]:
        """Writes what is left. Returns {file, requests, bytes, sha256} of each file."""
        if self._lines:
            data = b"".join(self._lines)
            name = f"requests-{len(self.written) + 1}.jsonl"
            storage.write_bytes(self._folder / name, data)
            about = {"file": name, "requests": len(self._lines), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            self.written.append(about)
            self._lines, self._size = [], 0
        return self.written


def dumps(value: Any) -> str:
    """JSON in ASCII."""
    return json.dumps(value, ensure_ascii=True)
