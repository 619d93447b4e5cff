"""Results that are added to where a program was stopped: a file beside them says what they were made with."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from mmre_jax.text_files import read_json


def differences(path: pathlib.Path, settings: Mapping[str, Any], checksums: Collection[str]) -> str:
    """How what results were made with differs from what would be now, for a message; '' where it does not.

    Args:
      path: the JSON file that was written with the results.
      settings: the same of now, plain JSON values.
      checksums: the names among them whose values say nothing to a person.
    """
    found, now = read_json(path), json.loads(json.dumps(settings))
    found = found if isinstance(found, dict) else {}
    other = [name for name in sorted(now.keys() | found.keys()) if now.get(name) != found.get(name)]
    told = (f"{name} {found.get(name)!r:.60}, now {now.get(name)!r:.60}" for name in other)
    return "; ".join(f"another {name}" if name in checksums else shown for name, shown in zip(other, told, strict=True))
