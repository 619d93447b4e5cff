"""Prints the settings: each with its range, its default and what it means; of a configuration also its variants and its own values.

    python -m launch.settings                                           every setting of every system
    python -m launch.settings --config=configs/qeot.py:quickstart       one configuration: what differs from the default is marked with *
    python -m launch.settings --config=configs/qeot.py --json           the same as JSON

Each is a flag of launch.train: --config.SECTION.NAME=VALUE.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from typing import Any

from absl import flags
from ml_collections import config_flags

from launch import config_file, console
from mmre_jax import settings, systems

WIDTH = 132

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_JSON = flags.DEFINE_bool("json", False, "Print JSON.")


def main() -> None:
    """Prints."""
    if _CONFIG.value is None:
        found = everything()
    else:  # as it was typed, which flags no longer know of a configuration that comes with the library; not so in a --flagfile
        found = of_config(config_file.given(sys.argv[1:]) or flags.FLAGS["config"].config_filename, _CONFIG.value)
    print(json.dumps(found, indent=1) if _JSON.value else as_text(found))


def everything() -> dict[str, Any]:
    """{'sections': {name: rows}} of all systems and tasks, with their defaults."""
    found = {f"system ({name})": settings.rows("system", systems.declared(name)) for name in systems.BUILDERS}
    for task in settings.TASKS:
        found[f"task ({task})"] = settings.rows("task", settings.task(task))
    found |= {name: settings.rows(name, section) for name, section in settings.COMMON.items()}
    return {"sections": {name: [_plain(row, valued=False) for row in rows] for name, rows in found.items()}}


def of_config(value: str, config: Any) -> dict[str, Any]:
    """{'config': FILE:VARIANT, 'file': FILE, 'variants': {name: meaning}, 'sections': {name: rows}} of a configuration.

    Args:
      value: of --config.
      config: what it makes, with the changes that other flags made.
    """
    module = config_file.load_module(value.partition(":")[0])
    rows = {name: settings.rows(name, section, config[name]) for name, section in settings.sections(config).items()}
    sections = {name: [_plain(row) for row in found] for name, found in rows.items()}
    return {"config": value, "file": module.__file__, "variants": config_file.variants(module), "sections": sections}


def as_text(found: dict[str, Any]) -> str:
    """The same for a terminal."""
    lines: list[str] = []
    if "config" in found:
        lines += [f"variants of {found['config'].partition(':')[0]} ({found['file']})", ""]
        for name, meaning in found["variants"].items():
            lines += _wrapped(f"  {name:<24}", meaning)
        lines += ["", f"settings of {found['config']}; * differs from the default"]
    for name, rows in found["sections"].items():
        lines += ["", f"{name}"]
        for row in rows:
            valued = "value" in row and row["differs"]
            values = f"{row['value']!r} (default {row['default']!r})" if valued else repr(row["default"])
            lines += _wrapped(f"{'*' if valued else ' '} {row['name']:<28} ", f"{values} [{row['range']}] {row['meaning']}")
    return "\n".join(lines)


def _plain(row: settings.Row, valued: bool = True) -> dict[str, Any]:
    found = dataclasses.asdict(row) | {"differs": row.differs}
    return found if valued else {key: value for key, value in found.items() if key not in ("value", "differs")}


def _wrapped(head: str, body: str) -> list[str]:
    whole = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(body, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), **whole) or [head.rstrip()]


if __name__ == "__main__":
    console.run(main)
