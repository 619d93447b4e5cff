"""Names of entities: which of them are the same, and the user's ids for them."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable

from mmre_jax.graph import iris
from mmre_jax.records import RecordError
from mmre_jax.text_files import read_text

Ids = Callable[[str, str | None], str | None]

_POSSESSIVE = re.compile(r"(?:['\u2019\u02bc\uff07]s|(?<=s)['\u2019\u02bc\uff07])$", re.IGNORECASE)
_HANDLE = re.compile(r"^(?:\.(?=[@\uff20]))?[@#\uff20\uff03]+")
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # which letters and emoji are made of; other format characters are not seen
COLUMNS = ("surface", "type", "id")


def trimmed(surface: str) -> str:
    """A name without the marks around it: @ and # (and the dot of .@name) before it, 's and s' behind it, invisible characters, and more
    than single spaces. What would leave nothing stays.
    """
    seen = "".join(" " if unicodedata.category(c) == "Cc" else c for c in surface if unicodedata.category(c) != "Cf" or c in _JOINERS)
    name = " ".join(seen.split())
    for mark in (_HANDLE, _POSSESSIVE):
        name = mark.sub("", name).strip() or name
    return name or surface


def normalised(surface: str) -> str:
    """What names of one entity have in common: `trimmed`, in compatibility form (NFKC), without letter case."""
    name = unicodedata.normalize("NFKC", trimmed(unicodedata.normalize("NFKC", surface))).casefold()
    return unicodedata.normalize("NFKC", name)


def read_ids(path: str | os.PathLike[str]) -> Ids:
    """The user's table of ids, a CSV file with the columns surface, type and id, as a function of a name and a type.

    Surfaces are compared normalised. A line without a type is for every type that has no line of its own.

    Raises:
      RecordError: naming file and line.
    """
    where = os.fspath(path)
    rows = csv.DictReader(io.StringIO(read_text(path)), strict=True)
    table: dict[tuple[str, str], tuple[str, int]] = {}
    try:
        if sorted(rows.fieldnames or ()) != sorted(COLUMNS):
            raise RecordError(f"{where}:1: the columns are {', '.join(COLUMNS)}, found {', '.join(rows.fieldnames or ()) or 'none'}")
        for row in rows:
            line = rows.line_num
            if None in row or None in row.values():
                raise RecordError(f"{where}:{line}: a line has three fields, surface, type and id")
            if not row["surface"].strip():
                raise RecordError(f"{where}:{line}: no surface")
            try:
                found = iris.check(row["id"].strip(), f"{where}:{line}, field 'id'")
            except ValueError as error:
                raise RecordError(str(error)) from error
            key = normalised(row["surface"]), row["type"].strip()
            before, first = table.setdefault(key, (found, line))
            if before != found:
                raise RecordError(f"{where}:{line}: {row['surface']!r} has another id in line {first}: {before}")
    except csv.Error as error:
        raise RecordError(f"{where}: not CSV after line {rows.line_num} ({error})") from error

    def look_up(surface: str, type_: str | None) -> str | None:
        name = normalised(surface)
        return (table.get((name, type_ or "")) or table.get((name, "")) or (None,))[0]

    return look_up
