"""Trains one configuration with several values of one setting, and prints their test scores side by side, a column a value.

    python -m launch.sweep --config=configs/qeot.py:quickstart --vary=system.queries=1,2,5,7,15 --workdir=runs/queries
    python -m launch.sweep --config=configs/rsrnet.py:quickstart --vary=data.train_share=0.05,0.1,0.2,0.5 --workdir=runs/shares

The first command is QEOT's table 3, the second RSRNeT's low-resource study. Values that are tuples or contain commas are separated by
semicolons: --vary='system.levels=(0,);(1,);(2,)'. Every run resumes where it was stopped; the table also goes to sweep.json in the workdir.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from launch import console
from mmre_jax import storage
from mmre_jax.analysis import report
from mmre_jax.tasks import task as task_lib
from mmre_jax.training.checks import check_settings
from mmre_jax.training.log import write_json
from mmre_jax.training.train import train

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder with one run's folder per value.")
_VARY = flags.DEFINE_string("vary", None, "SECTION.NAME=VALUE,VALUE,...")


def main() -> None:
    """Runs, prints, writes."""
    logger = console.setup()
    workdir, found = storage.path(_WORKDIR.value), {}
    name, values = parse(_VARY.value, _CONFIG.value)
    runs = {value: console.changed(_CONFIG.value, {name: value}) for value in values}
    for config in runs.values():  # all of them, before the first is trained
        check_settings(config)
    for value, config in runs.items():
        logger.info("---- %s = %s", name, value)
        run = train(config, workdir / folder(name, value))
        found[str(value)] = run["headline"]
        logger.info("%s = %s: %s", name, value, task_lib.as_line(run["headline"]))
    scores = list(next(iter(found.values())))
    rows = [{name: score, **{value: headline[score] for value, headline in found.items()}} for score in scores]
    print(report.table(rows, list(rows[0])))
    write_json(workdir / "sweep.json", {"vary": name, "runs": found})


def parse(text: str, config: ConfigDict) -> tuple[str, list[Any]]:
    """The setting and its values.

    Raises:
      app.UsageError: for a text of another form, a setting that the configuration does not have, or values of another type than it has.
    """
    name, equals, listed = text.partition("=")
    parts = [part.strip() for part in listed.split(";" if ";" in listed else ",")]
    section, _, key = name.partition(".")
    if not equals or not all(parts):
        raise app.UsageError(f"--vary is SECTION.NAME=VALUE,VALUE,..., found {text!r}")
    if section not in config or key not in config[section]:
        raise app.UsageError(f"--vary: the configuration has no setting {name!r}")
    present = config[section][key]
    values = [part if isinstance(present, str) else _value(part, name) for part in parts]
    if wrong := [value for value in values if not _fits(value, present)]:
        raise app.UsageError(f"--vary: {name} is a {type(present).__name__} such as {present!r}, found {wrong[0]!r}")
    return name, values


def folder(name: str, value: Any) -> str:
    """The name of a run's folder."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", f"{name}={value}").strip("_")


def _value(text: str, name: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise app.UsageError(f"--vary: {name}: {text!r} is not a value") from error


def _fits(value: Any, present: Any) -> bool:
    if isinstance(present, float) and not isinstance(value, bool):
        return isinstance(value, (int, float))
    return type(value) is type(present)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir", "vary"])
    console.run(main, together=True)
