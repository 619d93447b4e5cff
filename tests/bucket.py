"""A bucket in memory, which stands for s3:// while a test runs: names and bytes, no folders, nothing appended, renamed or locked."""

from __future__ import annotations

import pathlib
from typing import Any

import fsspec


class Bucket(fsspec.AbstractFileSystem):
    """What fsspec's clients of object stores do, on a dictionary. asked: the requests, as (what, name)."""

    protocol = "s3"
    objects: dict[str, bytes] = {}
    asked: list[tuple[str, str]] = []

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path).rstrip("/")
        self.asked.append(("ls", path))
        if path in self.objects:
            found = {path: {"name": path, "size": len(self.objects[path]), "type": "file"}}
        else:
            below = [name for name in self.objects if name.startswith(f"{path}/")]
            first = {f"{path}/{name[len(path) + 1 :].split('/')[0]}" for name in below}
            found = {name: {"name": name, "size": 0, "type": "directory"} for name in first}
            found |= {name: {"name": name, "size": len(self.objects[name]), "type": "file"} for name in first & self.objects.keys()}
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else list(found)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        path = self._strip_protocol(path)
        self.asked.append(("get", path))
        if path not in self.objects:
            raise FileNotFoundError(path)
        if start is not None and not self.objects[path]:
            raise OSError(22, "The requested range is not satisfiable")  # as S3 has it
        return self.objects[path][start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        path = self._strip_protocol(path)
        self.asked.append(("put", path))
        if not path.startswith("bucket/"):
            raise FileNotFoundError("The specified bucket does not exist")
        self.objects[path] = bytes(value)

    def rm_file(self, path: str) -> None:
        if self.objects.pop(self._strip_protocol(path), None) is None:
            raise FileNotFoundError(path)

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        pathlib.Path(lpath).write_bytes(self.cat_file(rpath))

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        self.pipe_file(rpath, pathlib.Path(lpath).read_bytes())
