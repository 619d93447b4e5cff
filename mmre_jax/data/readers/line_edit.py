"""A JSON line with other detected regions: nothing else of its text changes, to the byte."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mmre_jax.records import RecordError

_KEY = "regions"
_WHITE = " \t\r\n"
_DECODER = json.JSONDecoder()


def with_detected(line: str, regions: Sequence[str], where: str) -> str:
    """A line of jsonl.py's format with these detected regions behind those of other sources, which stay as they are written.

    Where there is nothing to write and no key `regions`, the line is what it was.

    Args:
      line: one that `jsonl.parse` takes; white space around it stays.
      regions: the JSON of each.

    Raises:
      RecordError: naming `where`, for what is no JSON object.
    """
    try:
        start = _skip(line, 0)
        members = list(_members(line, start))
    except (ValueError, IndexError, RecursionError) as error:
        raise RecordError(f"{where}: not a JSON object ({error})") from error
    for key, first, last in members:
        if key == _KEY:
            value = json.loads(line[first:last])
            others = [] if value is None else [line[a:b] for a, b in _elements(line, first)]
            kept = [text for text in others if json.loads(text).get("source") not in (None, "detected")]
            return f"{line[:first]}[{', '.join((*kept, *regions))}]{line[last:]}"
    if not regions:
        return line
    end = members[-1][2] if members else start + 1
    comma = ", " if members else ""
    return f'{line[:end]}{comma}"{_KEY}": [{", ".join(regions)}]{line[end:]}'


def _members(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """(key, start, end of its value) of the object that begins at `start`."""
    if text[start] != "{":
        raise ValueError("it does not begin with a brace")
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        first = _skip(text, _skip(text, at) + 1)  # behind the colon
        _, last = _DECODER.raw_decode(text, first)
        yield key, first, last
        at = _skip(text, last)
        at = _skip(text, at + 1) if text[at] == "," else at


def _elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each value of the list that begins at `start`."""
    at = _skip(text, start + 1)
    while text[at] != "]":
        _, last = _DECODER.raw_decode(text, at)
        yield at, last
        at = _skip(text, last)
        at = _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    """The place of the next character that is not white space."""
    while text[at] in _WHITE:
        at += 1
    return at
