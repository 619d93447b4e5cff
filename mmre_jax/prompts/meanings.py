"""The file that tells a model what labels mean, a line each."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mmre_jax.declare import did_you_mean
from mmre_jax.records import RecordError
from mmre_jax.text_files import checked, parse_json, read_text


def read(path: str | os.PathLike[str], labels: Sequence[str]) -> dict[str, str]:
    """{label: its meaning} of every label, in their order.

    Args:
      path: JSON {label: meaning}, or lines of a label, a tab and its meaning; those that begin with '{' are JSON.
      labels: what there is to be told.

    Raises:
      RecordError: for a file of neither form, an unknown, repeated or missing label, a meaning that is empty or of several lines.
      OSError: the file cannot be read.
    """
    where, text = os.fspath(path), read_text(path)
    found = _json(text, where) if text.lstrip().startswith("{") else _lines(text, where)
    if strange := [label for label in found if label not in labels]:
        raise RecordError(f"{where}: there is no label {strange[0]!r}{did_you_mean(strange[0], labels)}")
    if lacking := [label for label in labels if label not in found]:
        raise RecordError(f"{where}: no meaning of {', '.join(lacking)}")
    for label, meaning in found.items():
        if not meaning.strip() or len(meaning.strip().splitlines()) > 1:
            raise RecordError(f"{where}: {label!r}: a meaning is one line, found {meaning!r:.80}")
    return {label: found[label].strip() for label in labels}


def _json(text: str, where: str) -> dict[str, str]:
    found = parse_json(text, where)
    if not isinstance(found, dict) or not all(isinstance(meaning, str) for meaning in found.values()):
        raise RecordError(f"{where}: expected {{label: meaning}}, both of them strings")
    return found


def _lines(text: str, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        label, tab, meaning = line.partition("\t")
        if not tab or label in found:
            said = f"{label!r} stands there twice" if tab else f"expected a label, a tab and its meaning, found {line!r:.80}"
            raise RecordError(f"{where}:{number}: {said}")
        found[label] = checked(meaning, f"{where}:{number}")
    return found
