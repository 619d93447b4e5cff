"""What a person types to make one row again, without this program."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mmre_jax.reproduce import execute
from mmre_jax.reproduce.plan import Load, Planned


def of_row(planned: Planned, workdir: pathlib.Path, load: Load) -> list[str]:
    """The commands of one run of a row: training, then scoring."""
    if planned.config is None:
        return []
    run, how = workdir / execute.RUNS / planned.name, planned.run.how
    named = [f"--config={planned.run.config}", *_flags(load(planned.run.config), planned.config)]
    if how == "pipeline":
        return [_line("pipeline", [*named, f"--workdir={run}/pipeline"])]
    if how in ("metadata", "counts"):
        return [_line("audit", named)]
    if how == "settings":
        return [_line("settings", named)]
    found = [_line("train", [*named, f"--workdir={run}"])]
    found.append(_line("evaluate", [f"--checkpoint={run}", "--split=test", *(["--shuffle_pictures"] if how == "shuffled" else [])]))
    if planned.run.scored_with:
        predictions = execute.place(planned, workdir).with_name("test") / "predictions.jsonl"
        changed = [f"--config.{name}={value}" for name, value in planned.run.scored_with.items()]
        found.append(_line("evaluate", [f"--predictions={predictions}", *named, *changed, "--split=test"]))
    return found


def _line(program: str, arguments: list[str]) -> str:
    return " ".join(["python -m", f"launch.{program}", *map(shlex.quote, arguments)])


def _flags(usual: ConfigDict, config: ConfigDict) -> list[str]:
    """The flags that make of a variant what was run."""
    before, after = _flat(usual.to_dict()), _flat(config.to_dict())
    return [f"--config.{name}={_text(value)}" for name, value in after.items() if before.get(name) != value]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{SECTION.NAME: value}, of sections within sections, too."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _text(value: Any) -> str:
    return str(value).replace(" ", "") if isinstance(value, (tuple, list)) else str(value)
