"""The environment file of a run on a cluster (launch/pods/run.env is one with all keys): KEY=VALUE lines that a shell reads alike.

Nothing is expanded: what a shell would expand is refused, so that no value means one thing here and another thing there, and a value is
handed on as it is written. Standard library alone: a login node need not have JAX.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shlex
from collections.abc import Mapping

from mmre_jax.declare import did_you_mean
from mmre_jax.text_files import read_text

_LINE = re.compile(
    r"""(?P<key>[A-Za-z_]\w*)=(?:'(?P<single>[^']*)'|"(?P<double>[^"$`\\!]*)"|(?P<bare>[\w./:@%+=,#-]*))(?:\s+\#.*)?""", re.ASCII
)
_FLAG = re.compile(r"--?(?:no)?([A-Za-z_][\w.\[\]-]*)(?:=.*)?", re.ASCII | re.DOTALL)
# Flags of a run that are said otherwise. A run that stops after train.max_steps ends as one does that is to be started again.
_SAID = {"config": "CONFIG", "workdir": "WORKDIR", "config.data.root": "DATA"}
_REFUSED = {
    "distributed": "each launcher says it, to each process its own",
    "config.train.max_steps": "a run that it stops would be started again",
}


class EnvironmentFileError(ValueError):
    """What is wrong in an environment file, in one line that names the file and the line or key."""


@dataclasses.dataclass(frozen=True)
class Key:
    """What a value can be. pattern: the whole of it; meaning: in words, behind "is not"; default: None where it has to be given."""

    pattern: str
    meaning: str
    default: str | None = ""


_COUNT = r"[1-9]\d{0,4}"
_PATH = r"/[^/].*"
KEYS: Mapping[str, Key] = {
    "NAME": Key(r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?", "a letter and at most 39 more of small letters, digits and hyphens", None),
    "PROGRAM": Key("train|controls|sweep|pipeline", "train, controls, sweep or pipeline", "train"),
    "CONFIG": Key(r"\w+:\w+|/.+\.py:\w+", "NAME:VARIANT, such as hvformer:quickstart, or /FOLDER/FILE.py:VARIANT", None),
    "WORKDIR": Key(_PATH, "the full path of a folder on a disk that all machines share", None),
    "DATA": Key(f"(?:{_PATH})?", "the full path of a folder on a disk that all machines share"),
    "FLAGS": Key(".*", "flags of the run"),
    "IMAGE": Key(r"(?:[\w.][\w./:@#-]*)?", "a container image"),
    "PYTHON": Key(r"[^-].*", "a program", "python"),
    "SHARED": Key(r"(?:/[\w.-][\w./-]*)?", "the full path of a folder, of letters, digits and ._-/"),
    "VOLUME": Key(r"(?:[\w.][\w.:/-]*)?", "HOST:/PATH of an NFS export (tpu), or a name of a volume (jobset, sky)"),
    "BACKEND": Key("cpu|cuda|tpu", "cpu, cuda or tpu", None),
    "NODES": Key(_COUNT, "a whole number of at least 1", "1"),
    "DEVICES": Key(_COUNT, "a whole number of at least 1", "1"),
    "ACCELERATOR": Key(r"[\w.-]*", "what the cluster calls the devices"),
    "TOPOLOGY": Key(r"(?:\d+(?:x\d+){1,2})?", "a topology such as 4x4"),
    "SPOT": Key("yes|no", "yes or no", "no"),
    "ZONE": Key(r"[\w-]*", "a zone such as us-west4-a"),
    "RUNTIME": Key(r"[\w.-]*", "a TPU software version such as v2-alpha-tpuv5-lite"),
    "RESTARTS": Key(r"\d{1,5}", "a whole number of at least 0", "10"),
    "OPTIONS": Key(".*", "options of the cluster's own command"),
}


@dataclasses.dataclass(frozen=True)
class Environment:
    """A checked environment file. values: of every key; flags, options: the words of FLAGS and OPTIONS."""

    path: str
    values: Mapping[str, str]
    flags: tuple[str, ...]
    options: tuple[str, ...]

    def __getitem__(self, key: str) -> str:
        return self.values[key]

    def count(self, key: str) -> int:
        """The value of a key that is a number."""
        return int(self.values[key])

    def need(self, kind: str, *keys: str) -> None:
        """Refuses an environment that leaves a key empty without which a kind of cluster cannot be used.

        Raises:
          EnvironmentFileError: naming the first of them.
        """
        for key in keys:
            if not self.values[key]:
                raise EnvironmentFileError(f"{self.path}: {key} is missing, which {kind} needs: {KEYS[key].meaning}")

    def fix(self, kind: str, key: str, *allowed: str) -> None:
        """Refuses a value that a kind of cluster does not know.

        Raises:
          EnvironmentFileError: naming the values that it knows.
        """
        if self.values[key] not in allowed:
            raise EnvironmentFileError(f"{self.path}: {key}={self.values[key]}: {kind} knows {' and '.join(allowed)} alone")


def read(path: str | os.PathLike[str]) -> Environment:
    """Reads and checks an environment file.

    Raises:
      EnvironmentFileError: for a line that is no KEY=VALUE; an unknown, double or missing key; a value that the key cannot have.
      OSError: the file cannot be read.
    """
    name = os.fspath(path)
    given = parse(read_text(path, EnvironmentFileError), name)
    for key, known in KEYS.items():
        if key not in given and known.default is None:
            raise EnvironmentFileError(f"{name}: {key} is missing: {known.meaning}")
    values = {key: given.get(key, known.default or "") for key, known in KEYS.items()}
    for key, value in values.items():
        if not value.isprintable() or not re.fullmatch(KEYS[key].pattern, value, re.ASCII | re.DOTALL):
            raise EnvironmentFileError(f"{name}: {key}={value!r} is not {KEYS[key].meaning}")
    _check_places(name, values)
    flags, options = (_words(name, key, values[key]) for key in ("FLAGS", "OPTIONS"))
    _check_flags(name, flags)
    return Environment(name, values, flags, options)


def parse(text: str, name: str) -> dict[str, str]:
    """{key: value} of a file's text, its keys known.

    Raises:
      EnvironmentFileError: naming file and line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t")
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            hint = "KEY=VALUE; what holds more than letters, digits and ./:@%+=,#- stands in '...'"
            raise EnvironmentFileError(f"{name}:{number}: {line!r} is not {hint}")
        key = match["key"]
        if key not in KEYS:
            raise EnvironmentFileError(f"{name}:{number}: there is no key {key}{did_you_mean(key, KEYS)}")
        if key in found:
            raise EnvironmentFileError(f"{name}:{number}: {key} is given twice")
        found[key] = next(value for value in (match["single"], match["double"], match["bare"]) if value is not None)
    return found


def _check_places(name: str, values: Mapping[str, str]) -> None:
    """WORKDIR and DATA lie where containers see them."""
    shared = values["SHARED"]
    for key in ("WORKDIR", "DATA"):
        if ".." in pathlib.PurePosixPath(values[key]).parts:
            raise EnvironmentFileError(f"{name}: {key}={values[key]}: name the place without '..'")
        if shared and values[key] and not pathlib.PurePosixPath(values[key]).is_relative_to(shared):
            raise EnvironmentFileError(f"{name}: {key}={values[key]} is not inside SHARED={shared}")


def _words(name: str, key: str, value: str) -> tuple[str, ...]:
    """A value split as a shell does."""
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise EnvironmentFileError(f"{name}: {key}={value!r}: {error}") from error


def _check_flags(name: str, flags: tuple[str, ...]) -> None:
    for flag in flags:
        match = _FLAG.fullmatch(flag)
        if match is None:
            raise EnvironmentFileError(f"{name}: FLAGS: {flag!r} is no --NAME=VALUE; a VALUE with spaces stands in quotes of its own")
        if match[1] in _SAID:
            raise EnvironmentFileError(f"{name}: FLAGS: --{match[1]} is said by {_SAID[match[1]]}=")
        if match[1] in _REFUSED:
            raise EnvironmentFileError(f"{name}: FLAGS: --{match[1]}: leave it out, {_REFUSED[match[1]]}")
