"""Trains one configuration with several values of some settings, and of the seed, and prints and draws their test scores.

    python -m launch.sweep --config=configs/qeot.py:quickstart --vary=system.queries=1,2,5,7,15 --workdir=runs/queries
    python -m launch.sweep --config=configs/rsrnet.py:quickstart --vary=data.train_share=0.05,0.1,0.2,0.5 --seeds=0,1,2 \\
        --workdir=runs/shares
    python -m launch.sweep --config=configs/dgf_pt.py:quickstart --vary=data.image_share=0,0.2,0.4,0.6,0.8,1 --workdir=runs/pictures
    python -m launch.sweep --config=configs/hvformer.py:quickstart --vary=data.train_share=0.1,0.5,1 \\
        --vary=system.modalities=both,text --vary=optim.multipliers.head=1,10 --workdir=runs/grid

The first command is QEOT's table 3, the second RSRNeT's low-resource study (figure 5), the third DGF-PT's figure 3. Several settings make a
grid of all their combinations. Values that are tuples or contain commas are separated by semicolons: --vary='system.levels=(0,);(1,);(2,)'.

Every run has a folder of its own and resumes where it was stopped; finished ones are left as they are, so that the same command with more
values or seeds trains the new ones alone. sweep.json in the workdir has every run's scores and folder, the means and the sample standard
deviations over seeds, and is written after each run. curve.png shows the score that selects checkpoints over the first setting whose values
are numbers, a line for each combination of the others, as bars where there are no numbers; scores.png shows all headline scores so. With
--beside=runs/other,... the lines of other sweeps over that setting, of another system say, stand in the same pictures.
"""

from __future__ import annotations

import ast
import dataclasses
import logging
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from launch import config_file, console
from mmre_jax import storage
from mmre_jax.analysis import plots, sweep_plots
from mmre_jax.analysis.sweep import Sweep, cells
from mmre_jax.declare import Setting
from mmre_jax.tasks import task as task_lib
from mmre_jax.training import processes
from mmre_jax.training.checks import check_settings
from mmre_jax.training.log import read_json, write_json
from mmre_jax.training.train import train

FILE = "sweep.json"

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder with a folder for each run.")
_VARY = flags.DEFINE_multi_string("vary", None, "SECTION.NAME=VALUE,VALUE,...; may be given several times.")
_SEEDS = flags.DEFINE_list("seeds", [], "Values of train.seed, each trained with every combination of the others.")
_BESIDE = flags.DEFINE_list("beside", [], "Workdirs of other sweeps, to be drawn beside this one.")


def main() -> None:
    """Runs, prints, writes, draws."""
    logger = console.setup()
    workdir, vary, seeds = storage.path(_WORKDIR.value), settings(_VARY.value, _CONFIG.value), numbers(_SEEDS.value)
    if seeds and "train.seed" in vary:
        raise app.UsageError("--seeds are values of train.seed: leave that out of --vary")
    beside = processes.decided(lambda: [read(name) for name in _BESIDE.value])
    names = plots.short_names([str(workdir), *_BESIDE.value])
    if len(set(names)) < len(names):
        raise app.UsageError(f"--beside: two sweeps are called alike: {', '.join(names)}")
    runs = {}
    for cell in cells(vary, seeds):
        for seed, folder in cell.seeds.items():
            changes = dict(zip(vary, cell.values, strict=True)) | ({} if seed is None else {"train.seed": seed})
            runs[folder] = console.changed(_CONFIG.value, changes)
    for config in runs.values():  # all of them, before the first is trained
        check_settings(config)
    sweep = processes.decided(lambda: before(workdir, Sweep(vary, seeds, {}), runs))
    others, (across, _) = dict(zip(names[1:], beside, strict=True)), sweep_plots.shown_setting(sweep)
    sweep_plots.check_beside(across, sweep.scores, others)
    for number, (folder, config) in enumerate(runs.items(), 1):
        logger.info("---- %s (%d of %d)", folder, number, len(runs))
        headline = train(config, workdir / folder)["headline"]
        sweep = dataclasses.replace(sweep, headlines={**sweep.headlines, folder: headline})
        sweep_plots.check_beside(across, sweep.scores, others)
        write_json(workdir / FILE, sweep.to_json())
        logger.info("%s: %s", folder, task_lib.as_line(headline))
    print(sweep.text())
    if processes.is_first():
        sweeps = {names[0]: sweep, **others}
        for name, scores in (("curve.png", sweep.scores[:1]), ("scores.png", sweep.scores)):
            plots.save(sweep_plots.curve(sweeps, scores), workdir / name)
        logger.info("written: %s", ", ".join(str(workdir / name) for name in (FILE, "curve.png", "scores.png")))


def before(workdir: pathlib.Path, sweep: Sweep, runs: Collection[str]) -> Sweep:
    """The sweep with the scores of those of its runs that an earlier call has finished; the log names the others, which go."""
    found = read_json(workdir / FILE)
    if found is None or not isinstance(found["vary"], Mapping):
        return sweep
    headlines = Sweep.from_json(found).headlines
    if gone := sorted(headlines.keys() - runs):
        logging.getLogger("mmre_jax").info("%s: %d runs of an earlier call are not of this one: %s", FILE, len(gone), ", ".join(gone)[:200])
    return dataclasses.replace(sweep, headlines={folder: own for folder, own in headlines.items() if folder in runs})


def settings(texts: Sequence[str], config: ConfigDict) -> dict[str, list[Any]]:
    """{setting: values} of what --vary says. Raises app.UsageError as `parse`, and for a setting that is varied twice."""
    found: dict[str, list[Any]] = {}
    for name, values in (parse(text, config) for text in texts):
        if name in found:
            raise app.UsageError(f"--vary: {name} is given twice")
        found[name] = values
    return found


def numbers(texts: Sequence[str]) -> list[int]:
    """The seeds. Raises app.UsageError for what is no whole number."""
    if wrong := [text for text in texts if not text.strip().isdecimal()]:
        raise app.UsageError(f"--seeds are whole numbers, found {wrong[0]!r}")
    return [int(text) for text in texts]


def read(workdir: str) -> Sweep:
    """Another sweep. Raises app.UsageError where there is none."""
    found = read_json(storage.path(workdir) / FILE)
    if found is None:
        raise app.UsageError(f"--beside={workdir}: there is no {FILE}")
    return Sweep.from_json(found)


def parse(text: str, config: ConfigDict) -> tuple[str, list[Any]]:
    """The setting and its values.

    Raises:
      app.UsageError: for a text of another form, a setting that the configuration does not have, or values of another type than it has.
    """
    name, equals, listed = text.partition("=")
    parts = [part.strip() for part in listed.split(";" if ";" in listed else ",")]
    if not equals or not all(parts) or "." not in name:
        raise app.UsageError(f"--vary is SECTION.NAME=VALUE,VALUE,..., found {text!r}")
    present = _present(name, config)
    values = [part if isinstance(present, str) else _value(part, name) for part in parts]
    if wrong := [value for value in values if not _fits(value, present)]:
        raise app.UsageError(f"--vary: {name} is a {type(present).__name__} such as {present!r}, found {wrong[0]!r}")
    return name, values


def _present(name: str, config: ConfigDict) -> Any:
    """The value of a setting in a configuration; of a name that a dictionary of factors does not have yet, 1."""
    place: Any = config
    *above, last = name.split(".")
    for part in above:
        place = place[part] if hasattr(place, "keys") and part in place else None
    if hasattr(place, "keys") and last in place:
        if hasattr(place[last], "keys"):
            raise app.UsageError(f"--vary: {name} has parts: name one, {name}.NAME")
        return place[last]
    if place is not None and isinstance(config_file.declaration(".".join(above), config), Setting) and hasattr(place, "keys"):
        return 1.0
    raise app.UsageError(f"--vary: the configuration has no setting {name!r}")


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
