"""What the readers of published data sets share: text files, torch dictionaries, boxes, and messages that say what is missing."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from mmre_jax.data.torch_pickle import PickleError, read_dict
from mmre_jax.records import Box, Record, RecordError

_ROUNDING = 1e-6  # a box that leaves the picture by less was written so, not drawn so


def text_lines(path: pathlib.Path) -> list[str]:
    """The lines of a text file without their ends, of either kind. Raises RecordError where it is not UTF-8."""
    try:
        return [line.removesuffix("\r") for line in path.read_text("utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8 text ({error})") from error


def torch_table(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """A dictionary of plain values saved by torch. Raises RecordError where it is damaged or holds something else."""
    try:
        return read_dict(path)
    except PickleError as error:
        raise RecordError(str(error)) from error


def clip(corners: Box) -> tuple[Box | None, bool]:
    """(the part of a normalised xyxy box inside the picture, None if there is none; whether more than rounding was cut off)."""
    x0, y0, x1, y1 = (min(max(x, 0.0), 1.0) for x in corners)
    cut = any(abs(a - b) > _ROUNDING for a, b in zip((x0, y0, x1, y1), corners, strict=True))
    return ((x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None), cut


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
