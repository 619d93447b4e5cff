"""Which runs there are to be for some tables, each once: a run is known by its configuration, whichever rows ask for it."""

from __future__ import annotations

import ast
import copy
import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mmre_jax import settings
from mmre_jax.declare import Setting, did_you_mean
from mmre_jax.reproduce import sizes
from mmre_jax.reproduce.table import SCALES, Entry, NotRun, Place, Row, Run

SECTIONS = ("data", "text", "vision", "optim", "train", "parallel")  # which all configurations have
_ONE = "runs of several seeds would be one and the same: --seeds says which there are"
REFUSED = {"train.seed": _ONE, "train.seeds": _ONE, "train.max_steps": "no run would ever end: --max_minutes ends a call"}
TRAINED = ("trained", "shuffled", "pipeline")  # of table.HOW those for which something is trained
Load = Callable[[str], ConfigDict]  # of FILE:VARIANT


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a call asks for beside the entries.

    scale: one of SCALES.  seeds: of training, at least one.
    places: {name: folder} of weights and data sets (table.Place).
    overrides: {SECTION.NAME: text} of settings that all runs are to have, as flags spell them.
    """

    scale: str
    seeds: tuple[int, ...] = (0,)
    places: Mapping[str, str] = dataclasses.field(default_factory=dict)
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"there is no scale {self.scale!r}: {', '.join(SCALES)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are different whole numbers, at least one, found {', '.join(map(str, self.seeds)) or 'none'}")
        if wrong := [name for name in self.overrides if name.partition(".")[0] not in SECTIONS]:
            raise ValueError(f"--config.{wrong[0]}: what all runs are to have is of {', '.join(SECTIONS)}")
        if own := [name for name in self.overrides if name in REFUSED]:
            raise ValueError(f"--config.{own[0]}: {REFUSED[own[0]]}")
        for seed in self.seeds:
            _check_range("train.seed", seed, "--seeds")


@dataclasses.dataclass(frozen=True)
class Planned:
    """A run of a row with one seed, or why it cannot be.

    entry: the name of the table or figure that asks.  config: what is run; None where `lacking` says why it cannot be.
    name: of its folder below runs/.  places: that nobody named, the reason of `lacking` if there are any.
    """

    entry: str
    row: Row
    run: Run
    seed: int
    config: ConfigDict | None
    name: str
    lacking: str = ""
    places: tuple[str, ...] = ()

    @property
    def score(self) -> str:
        """The name of the folder of its score, beside the run."""
        with_what = "".join(f"_{name.partition('.')[2]}={value}" for name, value in self.run.scored_with.items())
        return ("test" if self.run.how == "trained" else self.run.how) + with_what


def plan(entry: Entry, asked: Asked, load: Load) -> list[Planned]:
    """Of each row that is run at the scale, in their order, a run a seed; one seed alone where nothing is trained.

    Args:
      load: the configuration that FILE:VARIANT names.

    Raises:
      ValueError: for an override that a configuration does not have, of another type than it has, or out of its range; and for one that
        makes rows alike which the table tells apart.
    """
    found = list[Planned]()
    for row in entry.rows:
        run = row.runs.get(asked.scale)
        if isinstance(run, Run):
            for seed in asked.seeds[: None if run.how in TRAINED else 1]:
                found.append(_planned(entry.name, row, run, seed, asked, load))
    _check_apart(found, asked)
    return found


def _check_apart(found: Sequence[Planned], asked: Asked) -> None:
    """Refuses an override of what makes a row another than its neighbour: both would show one and the same run."""
    for one, other in itertools.combinations(found if asked.overrides else (), 2):
        if one.name and (one.name, one.score) == (other.name, other.score):
            if lost := [name for name in asked.overrides if one.run.changes.get(name) != other.run.changes.get(name)]:
                told = f"--config.{lost[0]}={asked.overrides[lost[0]]}"
                rows = f"{one.row.label!r} and {other.row.label!r}"
                raise ValueError(f"{told}: {one.entry} tells {rows} apart by that: they would be one run")


def _planned(entry: str, row: Row, run: Run, seed: int, asked: Asked, load: Load) -> Planned:
    try:
        usual = load(run.config)
    except ValueError as error:  # a file or a variant that is not there; the other rows are none the worse
        return Planned(entry, row, run, seed, None, "", str(error))
    config, missing = configure(run, usual, asked, seed)
    name = folder_name(run.config, config)
    if missing:
        return Planned(entry, row, run, seed, None, name, f"needs {' '.join(f'--place={place}=FOLDER' for place in missing)}", missing)
    return Planned(entry, row, run, seed, config, name)


def configure(run: Run, usual: ConfigDict, asked: Asked, seed: int) -> tuple[ConfigDict, tuple[str, ...]]:
    """(the locked configuration of a run, the places that it needs and nobody named, in whose place their flags stand).

    Args:
      usual: that of its variant.

    Raises:
      ValueError: as `plan`.
    """
    config = ConfigDict(copy.deepcopy(usual.to_dict()))
    changes = {**sizes.of(run.config, asked.scale), **run.changes, "train.seed": seed}
    changes |= {name: typed(text, name, config) for name, text in asked.overrides.items()}
    data = str(changes.get("data.name", config.data.name))
    if data != "scenes" and not changes.get("data.root", config.data.root):
        changes["data.root"] = Place(data)
    wanted = {name: value.name for name, value in changes.items() if isinstance(value, Place)}
    for name, value in {**changes, **{name: asked.places.get(place, f"--place={place}") for name, place in wanted.items()}}.items():
        _set(config, name, value)
    return config.lock(), tuple(sorted({place for place in wanted.values() if place not in asked.places}))


def typed(text: str, name: str, config: ConfigDict) -> Any:
    """A setting's value, as a flag spells it.

    Raises:
      ValueError: naming the setting, where there is none of that name, or the text is no value of its type.
    """
    section, _, setting = name.partition(".")
    if section not in config or setting.partition(".")[0] not in config[section]:
        raise ValueError(f"--config.{name}: there is no such setting")
    present = config[section].get(setting)
    if isinstance(present, str):
        _check_range(name, text, f"--config.{name}")
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"--config.{name}={text} is not a value") from error
    if isinstance(present, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if present is not None and type(value) is not type(present):
        raise ValueError(f"--config.{name}={text}: such as {present!r} is expected")
    _check_range(name, value, f"--config.{name}")
    return value


def _check_range(name: str, value: Any, flag: str) -> None:
    """Refuses what the setting SECTION.NAME can never be; a setting that is declared nowhere is left alone."""
    setting: Any = settings.COMMON
    for part in name.split("."):
        setting = setting.get(part) if isinstance(setting, Mapping) else None
    if isinstance(setting, Setting) and not setting.accepts(value):
        raise ValueError(f"{flag}={value}: {name} is {setting.range}: {setting.meaning}")


def folder_name(config: str, resolved: ConfigDict) -> str:
    """The name of a run's folder: file and variant, for people, and a digest of all its settings."""
    settings = json.dumps(resolved.to_dict(), sort_keys=True)
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", config.removeprefix("configs/").replace(".py", "")).strip("_")
    return f"{readable}_{hashlib.sha256(settings.encode()).hexdigest()[:12]}"


def places(entry: Entry, asked: Asked, load: Load) -> set[str]:
    """The places that the rows of an entry can be given."""
    return {place for each in plan(entry, dataclasses.replace(asked, places={}), load) for place in each.places}


def of_rows(planned: Sequence[Planned], entries: Sequence[Entry], names: Sequence[str], scale: str) -> list[Planned]:
    """What is planned of the rows that are named, by their names or labels; all of it where none are.

    Raises:
      ValueError: for a name that no row of the entries has, or none that is run at the scale.
    """
    known = [name for entry in entries for row in entry.rows for name in (row.name, row.label)]
    if wrong := [name for name in names if name not in known]:
        raise ValueError(f"--row={wrong[0]}: there is no such row{did_you_mean(wrong[0], known)}")
    run = {name for each in planned for name in (each.row.name, each.row.label)}
    if idle := [name for name in names if name not in run]:
        why = next(not_run(entry, scale)[row.label] for entry in entries for row in entry.rows if idle[0] in (row.name, row.label))
        raise ValueError(f"--row={idle[0]} is not run: {why}")
    return [each for each in planned if not names or {each.row.name, each.row.label} & set(names)]


def not_run(entry: Entry, scale: str) -> dict[str, str]:
    """{row's label: why} of the rows that are not run at a scale."""
    found = {}
    for row in entry.rows:
        run = row.runs.get(scale)
        if isinstance(run, NotRun):
            found[row.label] = run.reason
        elif run is None:
            found[row.label] = f"not at scale {scale}; at {' and '.join(row.runs)}"
    return found


def _set(config: ConfigDict, name: str, value: Any) -> None:
    place, *rest = config, *name.split(".")
    *above, last = rest
    for part in above:
        if part not in place:
            raise ValueError(f"{name}: there is no such setting")
        place = place[part]
    if last not in place and above[-1:] != ["multipliers"]:  # a dictionary of factors, of any part
        raise ValueError(f"{name}: there is no such setting")
    place[last] = value
