"""Files on a disk, or in a bucket: every path that begins with s3:// or gs:// (extra `bucket`), under the names that pathlib has.

`path` makes a pathlib.Path of what lies on a disk, and an epath.Path of what lies in a bucket; both join, read and list alike. What differs
is here: a bucket's objects are written whole or not at all, cannot be appended to, renamed or locked, and there are no folders, only names
with slashes in them. Credentials and endpoints are the clients' own (AWS_* environment variables, GOOGLE_APPLICATION_CREDENTIALS).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import importlib.util
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

CLIENTS = {"s3": "s3fs", "gs": "gcsfs"}  # {scheme: the package that speaks it}
TOGETHER = 16  # requests that are under way at once
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_NUMBERS = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}  # clients leave them out

StrPath = str | os.PathLike[str]
T = TypeVar("T")


class StorageError(OSError):
    """A bucket that cannot be reached, or what cannot be in one. The message begins with its address."""


def is_remote(where: StrPath) -> bool:
    """Whether a path is an address: in a bucket, or of a kind that `path` refuses."""
    text = os.fspath(where)
    return "://" in text and _URL.match(text) is not None


def path(where: StrPath, *parts: StrPath) -> pathlib.Path:
    """The path of a file or a folder, on a disk or in a bucket. No request is made.

    Raises:
      StorageError: an address that is not of a bucket, one without a bucket's name, or where the extra `bucket` is not installed.
    """
    if not is_remote(where):
        return pathlib.Path(where, *parts)
    _check(os.fspath(where))
    os.environ.setdefault("EPATH_USE_TF", "false")  # it would take TensorFlow's file system where that is installed, and import it
    from etils import epath

    return epath.Path(os.fspath(where), *map(os.fspath, parts))  # type: ignore[return-value]  # it has pathlib's methods


def absolute(where: StrPath) -> pathlib.Path:
    """`path`, in full: of the user's home, the working folder and links on a disk."""
    return path(where) if is_remote(where) else pathlib.Path(where).expanduser().resolve()


def at_home(where: StrPath) -> pathlib.Path:
    """`path`, with the user's home in place of ~."""
    return path(where) if is_remote(where) else pathlib.Path(where).expanduser()


def on_disk(where: StrPath, name: str) -> pathlib.Path:
    """The path of what can be on a disk only.

    Raises:
      StorageError: naming it, for an address.
    """
    if is_remote(where):
        raise StorageError(f"{name}={os.fspath(where)}: this is read and written on a disk only, not in a bucket")
    return pathlib.Path(where)


def is_dir(where: pathlib.Path) -> bool:
    """Whether there is such a folder; of a bucket, whether any name begins with it. Raises StorageError where that cannot be asked."""
    if not is_remote(where):
        return where.is_dir()
    with _named(where), contextlib.suppress(FileNotFoundError):
        files, name = _client(where)  # whose isdir says no to whatever goes wrong
        return any(each.rstrip("/") != name for each in files.ls(name, detail=False))
    return False


def read_bytes(where: StrPath, at_most: int | None = None) -> bytes:
    """A file's bytes, of a longer one the first `at_most`.

    Raises:
      FileNotFoundError: there is no such file.
      OSError: it cannot be read; a StorageError where its bucket cannot be reached.
    """
    if not is_remote(where):
        if at_most is None:
            return pathlib.Path(where).read_bytes()
        with open(where, "rb") as file:
            return file.read(at_most)
    with _named(where):
        files, name = _client(where)
        if at_most is None:
            return files.cat_file(name)
        try:
            return files.cat_file(name, start=0, end=at_most)
        except FileNotFoundError:
            raise
        except OSError:
            if files.info(name)["size"]:
                raise
            return b""  # of nothing no part can be asked for


def write_bytes(where: pathlib.Path, data: bytes) -> None:
    """Writes a file whole or not at all: on a disk under another name first, in a bucket by one request.

    Raises:
      OSError: it cannot be written; nothing is left of it then.
    """
    if is_remote(where):
        with _named(where):
            files, name = _client(where)
            files.pipe_file(name, data)
        return
    temporary = where.with_name(f".{where.name}.{os.getpid()}")
    try:
        with full_at(where):
            temporary.write_bytes(data)
        temporary.replace(where)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def full_at(where: pathlib.Path) -> Iterator[None]:
    """That there is no more room leaves the block with the name of what was written: of an open file the system says none."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(where)) from error


def make_folder(where: pathlib.Path) -> None:
    """Makes a folder and those above it, where there are folders. A bucket is never made: its name may be a slip."""
    if not is_remote(where):
        where.mkdir(parents=True, exist_ok=True)


def check_writable(folder: pathlib.Path) -> None:
    """Makes a folder and writes a file into it, which is removed.

    Raises:
      OSError: where that cannot be done; a StorageError in a bucket.
    """
    make_folder(folder)
    probe = folder / f".writable_{os.getpid()}"
    if not is_remote(folder):
        probe.touch()
        probe.unlink()
        return
    with _named(folder):
        files, name = _client(probe)
        try:
            files.pipe_file(name, b"")
            files.rm_file(name)
        except FileNotFoundError as error:
            raise StorageError(f"{folder}: there is no such bucket") from error


def remove(files: Iterable[pathlib.Path]) -> None:
    """Removes objects of a bucket; one that is not there is no error."""
    for where in files:
        with _named(where), contextlib.suppress(FileNotFoundError):
            client, name = _client(where)
            client.rm_file(name)


def listing(folder: pathlib.Path) -> dict[str, int]:
    """{name below the folder: bytes} of all objects in a bucket's folder and those below it: a request for each 1,000."""
    with _named(folder):
        files, name = _client(folder)
        found = files.find(name, detail=True)
    return {each[len(name) + 1 :]: int(info["size"]) for each, info in found.items() if each.startswith(f"{name}/")}


def download(folder: pathlib.Path, names: Iterable[str], into: pathlib.Path) -> None:
    """Copies objects of a bucket's folder to a folder on a disk, under the same names.

    Raises:
      FileNotFoundError: for one that is not there.
      StorageError: where the bucket cannot be reached.
    """
    names = list(names)
    for name in names:
        (into / name).parent.mkdir(parents=True, exist_ok=True)

    def copy(name: str) -> None:
        with _named(folder / name):
            client, source = _client(folder / name)
            client.get_file(source, str(into / name))

    _each(copy, names)


def upload(folder: pathlib.Path, names: Iterable[str], into: pathlib.Path) -> None:
    """Copies files of a folder on a disk to a bucket's folder, under the same names.

    Raises:
      StorageError: where the bucket cannot be reached, OSError where it refuses.
    """

    def copy(name: str) -> None:
        with _named(into / name):
            client, target = _client(into / name)
            client.put_file(str(folder / name), target)

    _each(copy, names)


@contextlib.contextmanager
def at_hand(where: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file for libraries that read from a disk: itself; of a bucket's file a copy, for the block's duration."""
    if not is_remote(where):
        yield where
        return
    with tempfile.TemporaryDirectory() as folder:
        download(where.parent, [where.name], pathlib.Path(folder))
        yield pathlib.Path(folder, where.name)


def size(where: str) -> int | None:
    """A file's bytes; None where there is no such file, or it cannot be looked at."""
    if not is_remote(where):
        try:
            return os.stat(where).st_size
        except (OSError, ValueError):  # a name that no file can have is a ValueError
            return None
    with _named(where), contextlib.suppress(FileNotFoundError):
        client, name = _client(where)
        return int(client.info(name)["size"])
    return None


def sizes(files: Iterable[str]) -> dict[str, int | None]:
    """{file: `size`} of files, of which those in buckets are looked up by listing their folders: a request for each 1,000 objects there.

    Raises:
      StorageError: where a bucket cannot be reached.
    """
    files = list(files)
    folders = sorted({file.rpartition("/")[0] for file in files if is_remote(file)})

    def look(folder: str) -> dict[str, int]:
        with _named(folder), contextlib.suppress(FileNotFoundError):
            client, name = _client(folder)
            found = client.ls(name, detail=True)
            return {f"{folder}/{each['name'].rpartition('/')[2]}": int(each["size"]) for each in found if each["type"] == "file"}
        return {}

    there: dict[str, int] = {}
    for found in _each(look, folders):
        there |= found
    return {file: there.get(file) if is_remote(file) else size(file) for file in files}


def _each(do: Callable[[str], T], items: Iterable[str]) -> list[T]:
    """What `do` returns of each, several at once; the first error is raised."""
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(do, items))


def _check(address: str) -> None:
    scheme = address.partition("://")[0]
    if scheme not in CLIENTS:
        raise StorageError(f"{address}: an address can be that of a bucket, which begins with {' or '.join(f'{x}://' for x in CLIENTS)}")
    if not address[len(scheme) + 3 :].strip("/"):
        raise StorageError(f"{address}: no bucket is named")
    if any(importlib.util.find_spec(package) is None for package in ("fsspec", "etils", CLIENTS[scheme])):
        raise StorageError(f"{address}: needs mmre_jax[bucket]")
    import fsspec

    # What another process wrote is to be seen: clients remember no listings, those that epath makes included.
    fsspec.config.conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)


def _client(where: StrPath) -> tuple[Any, str]:
    """(the client of a bucket, a path's name in it). Clients are made once (fsspec keeps them), for all threads."""
    address = os.fspath(where)
    _check(address)
    import fsspec

    scheme, _, name = address.partition("://")
    return fsspec.filesystem(scheme), name.rstrip("/")


@contextlib.contextmanager
def _named(where: StrPath) -> Iterator[None]:
    """What a client raises leaves the block as an OSError that names the file: what is none, such as of the network or of credentials, as a
    StorageError."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        number = error.errno or _NUMBERS.get(type(error), errno.EIO)
        raise OSError(number, error.strerror or str(error), os.fspath(where)) from error
    except Exception as error:  # each client has its own kinds
        said = " ".join(str(error).split())[:300]
        raise StorageError(f"{os.fspath(where)}: the bucket cannot be used ({type(error).__name__}: {said})") from error
