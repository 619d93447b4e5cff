"""Makes the tables and figures of the papers: trains what they need, scores it, and writes the paper's numbers beside ours.

    python -m launch.reproduce --list --workdir=runs/reproduce
    python -m launch.reproduce hvformer.table2 --seeds=0,1,2 --workdir=runs/reproduce
    python -m launch.reproduce hvformer.table2 --scale=paper --seeds=0,1,2 --workdir=runs/reproduce \\
        --place=mnre=DIR --place=bert=DIR --place=clip=DIR --place=resnet50=DIR
    python -m launch.reproduce all --max_minutes=110 --workdir=runs/reproduce

An entry is a table or a figure of a paper, PAPER.tableN or PAPER.figureN, or one of ours; PAPER alone is all of its entries. --scale says
how large its runs are: small, on the embedded data set, minutes each, which compares with nothing in the paper; minilm, on the published
data with a small text encoder; paper, the paper's sizes. A run is made once, whichever entries ask for it, with one and the same
configuration; what is done is skipped, what was stopped goes on. A run that fails is named, and its rows stay open.

Where data sets and weights are is told by --place=NAME=FOLDER, NAME being a data set's or one of the weights that --list names as lacking;
--config.data.root=FOLDER is the same for entries of one data set. --config.SECTION.NAME=VALUE of data, text, vision, optim, train and
parallel is a setting that all runs are to have, such as --config.train.epochs=4; one in which rows of a table differ is refused.

Of each entry report.md, report.csv, report.html, report.json and pictures are written to WORKDIR/reports/SCALE/ENTRY, the runs to
WORKDIR/runs. --row=NAME runs some rows alone, with more seeds, say; the report has all of them, as far as they are. Ends with exit status
1 where a run failed, and 3 where work is left: the same command goes on.
"""

from __future__ import annotations

import functools
import itertools
import pathlib
import re
import shlex
import sys
from collections.abc import Mapping

from absl import app, flags
from ml_collections import ConfigDict

from configs import pipeline
from launch import config_file, console
from mmre_jax import storage
from mmre_jax.analysis import report as tables
from mmre_jax.data import datasets
from mmre_jax.declare import did_you_mean
from mmre_jax.reproduce import execute, plan, write
from mmre_jax.reproduce.plan import Asked, Planned
from mmre_jax.reproduce.table import SCALES, Entry
from mmre_jax.reproduce.tables import ENTRIES, families
from mmre_jax.training import xla_cache

_WORKDIR = flags.DEFINE_string("workdir", "runs/reproduce", "Folder of the runs and the reports.")
_SCALE = flags.DEFINE_enum("scale", "small", SCALES, "How large the runs are.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Values of train.seed: a run of each for every row.")
_MINUTES = flags.DEFINE_float("max_minutes", 0.0, "After so many no further run begins; 0: all are made.", lower_bound=0.0)
_PLACE = flags.DEFINE_multi_string("place", [], "NAME=FOLDER of a data set or of weights.")
_SETTING = flags.DEFINE_multi_string(
    "setting", [], "SECTION.NAME=VALUE that all runs are to have; --config.SECTION.NAME=VALUE says the same."
)
_ROW = flags.DEFINE_multi_string("row", [], "Run this row alone, by its name or its group and name; may be given several times.")
_LIST = flags.DEFINE_bool("list", False, "Name every entry and how far it is, and end.")


def main(*names: str) -> None:
    """Plans, runs, writes."""
    logger = console.setup()
    workdir, entries = storage.at_home(_WORKDIR.value), chosen(names or (("all",) if _LIST.value else ()))
    asked = _asked()
    planned = {entry.name: plan.plan(entry, asked, load) for entry in entries}
    everything = [each for own in planned.values() for each in own]
    wanted = plan.of_rows(everything, entries, _ROW.value, asked.scale)
    if _LIST.value:
        print(_listed(entries, planned, workdir))
        return
    xla_cache.enable_usual()
    used = {place for entry in entries for place in plan.places(entry, asked, load)} if asked.places else set[str]()
    if idle := sorted(asked.places.keys() - used):
        logger.warning("not used at scale %s by what is asked for: %s", asked.scale, ", ".join(f"--place={place}" for place in idle))
    for lacking, names in itertools.groupby(
        sorted((each.lacking, each.row.label) for each in everything if each.lacking), lambda pair: pair[0]
    ):
        logger.warning("not run: %s: %s", ", ".join(dict.fromkeys(name for _, name in names)), lacking)
    execute.forget_damaged(everything, workdir)
    outcome = execute.execute(wanted, workdir, pipeline.components, max_minutes=_MINUTES.value)
    failed = dict(outcome.failed)
    for entry in entries:
        call = _call(entry.name)
        written, undrawn = write.write(entry, planned[entry.name], asked, workdir, load, pipeline.components, call)
        failed |= {f"{entry.name}, {name}": why for name, why in undrawn.items()}
        logger.info("%s: %s", entry.name, written[2])
    rows = [(entry.name, entry.title, _state(entry, planned, workdir).told()) for entry in entries]
    if len(entries) > 1:
        logger.info("all of them: %s", write.write_index(workdir, asked.scale, rows))
    print(tables.table([dict(zip(("entry", "shows", "state"), row, strict=True)) for row in rows], ["entry", "shows", "state"]))
    for name, why in failed.items():
        logger.error("failed: %s: %s", name, why)
    if failed:
        sys.exit(1)
    if outcome.left:
        logger.info("%d runs and scores are left: the same command goes on", outcome.left)
        sys.exit(3)


@functools.cache
def load(value: str) -> ConfigDict:
    """The configuration that FILE:VARIANT of a table names: of this library's configs/, in whatever folder."""
    file, _, variant = value.partition(":")
    return config_file.load(f"{config_file.FOLDER / pathlib.Path(file).name}:{variant}")[1]


def chosen(names: tuple[str, ...]) -> list[Entry]:
    """The entries that are named, each once: by their own names, by a paper's, or all.

    Raises:
      app.UsageError: for a name that is none of these.
    """
    papers = list(dict.fromkeys(entry.paper for entry in ENTRIES.values()))
    found: dict[str, Entry] = {}
    for name in names:
        own = {key: entry for key, entry in ENTRIES.items() if name in ("all", key, entry.paper)}
        if not own:
            raise app.UsageError(f"there is no entry {name!r}{did_you_mean(name, [*ENTRIES, *papers, 'all'])}; --list names all")
        found |= own
    if not found:
        raise app.UsageError("name entries, or all; --list names all")
    return list(found.values())


def _asked() -> Asked:
    """What the flags ask for.

    Raises:
      app.UsageError: for flags of another form.
    """
    if wrong := [text for text in _SEEDS.value if not text.strip().isdecimal()]:
        raise app.UsageError(f"--seeds are whole numbers, found {wrong[0]!r}")
    places, overrides = _pairs("place", _PLACE.value), _pairs("setting", _SETTING.value)
    for name, folder in places.items():
        if name not in (known := [*families.WHOSE, *datasets.DATASETS]):
            raise app.UsageError(f"--place={name}: nothing of that name has a place{did_you_mean(name, known)}; --list says what lacks one")
        if not storage.is_remote(folder) and not (folder and storage.at_home(folder).exists()):
            raise app.UsageError(f"--place={name}={folder}: there is no such folder or file")
    try:
        return Asked(_SCALE.value, tuple(map(int, _SEEDS.value)), places, overrides)
    except ValueError as error:
        raise app.UsageError(str(error)) from error


def _pairs(flag: str, texts: list[str]) -> dict[str, str]:
    if wrong := [text for text in texts if not text.partition("=")[0] or "=" not in text]:
        raise app.UsageError(f"--{flag} is NAME=VALUE, found {wrong[0]!r}")
    names = [text.partition("=")[0] for text in texts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise app.UsageError(f"--{'config.' if flag == 'setting' else f'{flag}='}{twice[0]} is given twice")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _state(entry: Entry, planned: Mapping[str, list[Planned]], workdir: pathlib.Path) -> write.State:
    return write.state(entry, planned[entry.name], workdir, _SCALE.value, pipeline.components)


def _listed(entries: list[Entry], planned: Mapping[str, list[Planned]], workdir: pathlib.Path) -> str:
    """A line an entry, and how many runs all of them need together."""
    rows = []
    for entry in entries:
        rows.append({"entry": entry.name, "shows": entry.title, "state": _state(entry, planned, workdir).told()})
    everything = [each for own in planned.values() for each in own]
    there = [each for each in everything if each.config is not None]
    runs = {name for each in there for name in execute.trainings(each, pipeline.components)}
    waiting = {each.name for each in everything if each.config is None and each.run.how in plan.TRAINED}
    left, _ = execute.todo(there, workdir, pipeline.components)
    still = f"{len(left) + len(waiting)} are still to be trained in {workdir}"
    told = [f"{len(runs | waiting)} runs in all, each shared by the entries that need it; {still}."]
    places = sorted({place for each in everything for place in each.places})
    told += [f"--place={place}=FOLDER: {families.WHOSE.get(place, f'data set {place!r}')}" for place in places]
    return "\n".join([tables.table(rows, ["entry", "shows", "state"]), "", *told])


def _call(entry: str) -> str:
    """The command of one entry alone."""
    given = [f"--scale={_SCALE.value}", f"--seeds={','.join(_SEEDS.value)}", f"--workdir={_WORKDIR.value}"]
    given += [f"--place={text}" for text in _PLACE.value] + [f"--config.{text}" for text in _SETTING.value]
    return " ".join(["python -m launch.reproduce", *map(shlex.quote, [entry, *given])])


def as_settings(argv: list[str]) -> list[str]:
    """A program's arguments with --setting=SECTION.NAME=VALUE where --config.SECTION.NAME=VALUE stands."""
    return [re.sub(r"^--?config\.(?=\w+\.\w)", "--setting=", argument) for argument in argv]


if __name__ == "__main__":
    sys.argv = as_settings(sys.argv)
    console.run(main, ["..."])
