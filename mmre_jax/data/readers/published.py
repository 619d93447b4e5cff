"""What the readers of published data sets share: lines, fields, torch dictionaries, boxes, and messages that say what is missing."""

from __future__ import annotations

import ast
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from mmre_jax import storage
from mmre_jax.data.torch_pickle import PickleError, read_dict
from mmre_jax.records import Mention, Record, RecordError, check_span
from mmre_jax.text_files import checked, parse_json, read_json, read_text

_LITERAL_ERRORS = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)


def text_lines(path: pathlib.Path) -> list[str]:
    """The lines of a text file without their ends, of either kind. Raises RecordError where it is not UTF-8."""
    return read_text(path).split("\n")


def rows(path: pathlib.Path) -> list[tuple[str, Any]]:
    """(place for messages, value) of each line that is not empty: JSON, or else a Python literal; nothing in it is run.

    Raises:
      RecordError: the file is not UTF-8, or a line is neither, or holds a character that was cut in two.
    """
    numbered = ((f"{path}:{number}", line) for number, line in enumerate(text_lines(path), 1))
    return [(where, _value(line.strip(), where)) for where, line in numbered if line.strip()]


def field(line: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A line's value of a key. Raises RecordError where it is missing, or of another type."""
    if not isinstance(line, dict) or key not in line:
        raise RecordError(f"{where}: no field {key!r} in {line!r:.200}")
    if not isinstance(line[key], kind) or isinstance(line[key], bool):
        raise RecordError(f"{where}, field {key!r}: found {line[key]!r:.200}, of type {type(line[key]).__name__}")
    return line[key]


def tokens(line: Any, where: str) -> tuple[str, ...]:
    """The words of a line's `token`. Raises RecordError where there are none."""
    words = field(line, "token", list, where)
    if not words or not all(isinstance(word, str) for word in words):
        raise RecordError(f"{where}, field 'token': expected a list of words, found {words!r:.200}")
    return tuple(words)


def mention(line: Any, key: str, words: int, where: str) -> Mention:
    """The span `pos` = [start, end) of a line's entity. Raises RecordError where it is none, or leaves the line's words."""
    span = field(field(line, key, dict, where), "pos", (list, tuple), f"{where}, field {key!r}")
    if len(span) != 2:
        raise RecordError(f"{where}, field '{key}.pos': expected [start, end], found {span!r}")
    return Mention(*check_span(*span, words, f"{where}, field '{key}.pos'"))


def relation_of(line: Any, known: frozenset[str], where: str) -> str:
    """A line's `relation`. Raises RecordError where it is not a known one."""
    found = field(line, "relation", str, where)
    if found not in known:
        raise RecordError(f"{where}, field 'relation': unknown relation {found!r}; known are {sorted(known)}")
    return found


def relation_table(path: pathlib.Path) -> tuple[str, ...]:
    """The relation names of a table {name: id}, by their ids. Raises RecordError where the ids are not 0, 1, ..., each once."""
    table = read_json(path)
    if not isinstance(table, dict) or sorted(map(repr, table.values())) != sorted(map(repr, range(len(table)))):
        raise RecordError(f"{path}: expected relation names with the ids 0, 1, ..., each once")
    return tuple(sorted(table, key=table.__getitem__))


def torch_table(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """A dictionary of plain values saved by torch. Raises RecordError where it is damaged or holds something else."""
    with storage.at_hand(storage.path(path)) as file:
        try:
            return checked(read_dict(file), os.fspath(path))
        except PickleError as error:
            raise RecordError(str(error).replace(str(file), os.fspath(path))) from error


def counts(records: Sequence[Record]) -> dict[str, int]:
    """How many records, mentions and triples there are, and records without a triple."""
    return {
        "records": len(records),
        "mentions": sum(len(record.mentions) for record in records),
        "triples": sum(len(record.triples) for record in records),
        "records_without_triples": sum(not record.triples for record in records),
    }


def missing(root: str | os.PathLike[str], wanted: str, layout: str) -> RecordError:
    """The error for a file that is not there: what was wanted, what the folder should hold, and what it holds."""
    folder = pathlib.Path(root)
    if not folder.is_dir():
        return RecordError(f"{folder}: no such folder; expected one that holds {layout}")
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:20]) or "nothing"
    return RecordError(f"{folder}: no {wanted}; expected a folder that holds {layout}; there is: {there}")


def check(name: str, value: object, valid: Sequence[object]) -> None:
    """Raises RecordError unless `value` is one of `valid`."""
    if value not in valid:
        raise RecordError(f"{name} is one of {', '.join(map(str, valid))}, found {value!r}")


def _value(line: str, where: str) -> Any:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return checked(_literal(line, where), where)
    return parse_json(line, where)


def _literal(line: str, where: str) -> Any:
    """The value of a Python literal, in which every key stands once, as in JSON.

    Its escaped surrogates are one character where two make one, as JSON's are.
    """
    try:
        tree = ast.parse(line, mode="eval")
        for keys in (node.keys for node in ast.walk(tree) if isinstance(node, ast.Dict)):
            names = [key.value for key in keys if isinstance(key, ast.Constant)]
            if len(set(names)) < len(names):
                raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")
        return _joined(ast.literal_eval(tree))
    except _LITERAL_ERRORS as error:
        raise RecordError(f"{where}: neither a JSON object nor a Python dictionary ({error}): {line:.80}") from error


def _joined(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    if isinstance(value, dict):
        return {_joined(key): _joined(item) for key, item in value.items()}
    return [_joined(item) for item in value] if isinstance(value, list) else value
