"""Names of files that come from data: each must stay inside the folder that the user chose."""

from __future__ import annotations

import itertools
import os
import pathlib
import re

from mmre_jax import storage
from mmre_jax.records import RecordError
from mmre_jax.text_files import shown


def leads_out(name: str) -> bool:
    """Whether a name, read as a path with either kind of slash, is absolute, on a drive, or has a `..` in it."""
    parts = re.split(r"[/\\]", name)
    return not parts[0] and len(parts) > 1 or re.match("[A-Za-z]:", name) is not None or ".." in parts


def inside(root: str | os.PathLike[str], name: str, where: str, error: type[ValueError] = RecordError) -> str:
    """The path of `name` in the folder `root`, for a name that comes from data. Nothing need be there.

    Args:
      root: a folder that the user chose, on a disk or in a bucket.
      name: relative path, either kind of slash.
      where: the record (file, line, field) the name comes from, for the message.
      error: what is raised.

    Raises:
      RecordError, or what `error` says: the name is empty, absolute or a URL, or leads out of `root`: by `..`, or by a symbolic link on the
        way below `root` (`root` itself may be one).
    """
    parts = re.split(r"[/\\]", name)
    if not name.strip() or "\0" in name or not parts[0] or ":" in parts[0] or leads_out(name):
        raise error(f"{where}: {shown(name)!r} is not a path inside {os.fspath(root)}")
    if storage.is_remote(root):  # no folders, and so no links
        return "/".join([os.fspath(root).rstrip("/"), *(part for part in parts if part not in ("", "."))])
    steps = list(itertools.accumulate(parts, os.path.join, initial=os.fspath(root)))
    if any(map(os.path.islink, steps[1:])):  # seldom, and resolving a path takes several times as long as this
        target = os.path.realpath(steps[-1])
        if not pathlib.Path(target).is_relative_to(os.path.realpath(root)):
            raise error(f"{where}: {shown(name)!r} is not a path inside {os.fspath(root)}: a symbolic link leads to {target}")
    return str(pathlib.Path(root, *parts))


def relative(root: str | os.PathLike[str], file: str, where: str, error: type[ValueError] = RecordError) -> str:
    """The name, with slashes, by which `inside` finds a file in `root`. Of its links `inside` is the judge.

    Raises:
      RecordError, or what `error` says: the file does not lie in `root`.
    """
    try:
        name = pathlib.PurePath(file).relative_to(os.fspath(root)).as_posix()
    except ValueError as problem:
        raise error(f"{where}: {shown(file)} does not lie in {os.fspath(root)}") from problem
    if leads_out(name):
        raise error(f"{where}: {shown(file)} does not lie in {os.fspath(root)}")
    return name
