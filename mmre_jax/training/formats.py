"""Metadata of checkpoints of former formats, made into that of the present one.

Formats: 1 has relations alone and neither task nor kinds of encoders among its settings; 2 has every task; 3 knows its data and its
devices (`data`, `devices`), and what products are computed in. A checkpoint of each stands in tests/training/checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = 3

# Settings that came after checkpoints of some format or other were written, with the values that say what was computed before there was
# a choice. Not the defaults of today: a default may change, what a checkpoint computes may not.
BEFORE: Mapping[str, Any] = {
    "data.image_share": 1.0,
    "data.merge_val": False,
    "data.published": False,
    "data.train_share": 1.0,
    "data.view": "",
    "text.kind": "bert",
    "text.pad_id": 1,
    "vision.bottleneck": True,
    "vision.depths": [3, 4, 6, 3],
    "vision.groups": 32,
    "vision.kind": "vit",
    "vision.norm": "frozen",
    "vision.stem": 64,
    "vision.stem_kernel": 0,
    "vision.stem_pool": True,
    "vision.stem_stride": 2,
    "vision.stride_first": False,
    "train.init_parts": [],
}
# The same of section `system`, by the system's name.
OF_SYSTEMS: Mapping[str, Mapping[str, Any]] = {"qeot": {"encoder_positions": True}, "rsrnet": {"pool": "markers"}}


class FormatError(ValueError):
    """Metadata of a format that cannot be read; says which version wrote it."""


def upgrade(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's metadata in the present format.

    `data` and `devices` are None where the checkpoint does not say.

    Raises:
      FormatError: for a format that this version does not know.
    """
    number = meta.get("format")
    if type(number) is not int or not 1 <= number <= FORMAT:
        versions = meta.get("versions")
        writer = versions.get("mmre_jax") if isinstance(versions, Mapping) else None
        by = f"mmre_jax {writer}" if writer else "an unknown version"
        raise FormatError(f"the checkpoint has format {number!r}, written by {by}; this version reads formats 1 to {FORMAT}")
    if not isinstance(meta.get("config"), Mapping):
        return dict(meta)
    config = {name: dict(section) if isinstance(section, Mapping) else section for name, section in meta["config"].items()}
    system = config.setdefault("system", {})
    before = {**BEFORE, "train.precision": "highest" if system.get("flavour") == "reference" else "default"}
    before |= {f"system.{key}": value for key, value in OF_SYSTEMS.get(system.get("name"), {}).items()}
    for name, value in before.items():
        section, key = name.split(".")
        config.setdefault(section, {}).setdefault(key, value)
    return {"data": None, "devices": None, **meta, "config": config}
