"""Metadata of checkpoints of former formats, made into that of the present one.

Formats: 1 has relations alone and neither task nor kinds of encoders among its settings; 2 has every task; 3 knows its data and its
devices (`data`, `devices`), and what products are computed in. A checkpoint of each stands in tests/training/checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = 3


class FormatError(ValueError):
    """Metadata of a format that cannot be read; says which version wrote it."""


def upgrade(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's metadata in the present format.

    `data` and `devices` are None where the checkpoint does not say. Settings that came later are completed by `settings.complete`.

    Raises:
      FormatError: for a format that this version does not know.
    """
    number = meta.get("format")
    if type(number) is not int or not 1 <= number <= FORMAT:
        raise FormatError(f"the checkpoint has format {number!r}, written by {writer(meta)}; this version reads formats 1 to {FORMAT}")
    if not isinstance(meta.get("config"), Mapping):
        return dict(meta)
    config = {name: dict(section) if isinstance(section, Mapping) else section for name, section in meta["config"].items()}
    released = config.get("system", {}).get("flavour") == "reference"
    config.setdefault("train", {}).setdefault("precision", "highest" if released else "default")
    return {"data": None, "devices": None, **meta, "config": config}


def writer(meta: Mapping[str, Any]) -> str:
    """The version that wrote a checkpoint, as messages name it."""
    versions = meta.get("versions")
    found = versions.get("mmre_jax") if isinstance(versions, Mapping) else None
    return f"mmre_jax {found}" if found else "an unknown version"
