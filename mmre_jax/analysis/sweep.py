"""Runs that differ in some settings and in their seeds: which there are, what they scored, and how that is told."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmre_jax.analysis import report

SHARES = {"data.train_share": "training examples", "data.image_share": "pictures"}  # settings that are shown in percent


@dataclasses.dataclass(frozen=True)
class Cell:
    """One value of each setting that is varied, in their order, and of each seed the run's folder, relative to the sweep's.

    seeds: {seed: folder}; the seed is None where seeds are not varied.
    """

    values: tuple[Any, ...]
    seeds: Mapping[int | None, str]


@dataclasses.dataclass(frozen=True)
class Scored:
    """A cell with the mean and the sample standard deviation of each score over its finished runs; nan for the latter of a single run."""

    cell: Cell
    runs: int
    mean: Mapping[str, float]
    std: Mapping[str, float]


def cells(vary: Mapping[str, Sequence[Any]], seeds: Sequence[int] = ()) -> list[Cell]:
    """All combinations of the settings' values, the first setting's slowest.

    Raises:
      ValueError: for a value or a seed that is given twice, and for values that would share a folder.
    """
    for name, values in (*vary.items(), ("seeds", seeds)):
        if twice := [value for n, value in enumerate(values) if value in values[:n]]:
            raise ValueError(f"{name}: {twice[0]!r} is given twice")
    found = []
    for values in itertools.product(*vary.values()):
        folder = "_".join(folder_name(*pair) for pair in zip(vary, values, strict=True))
        found.append(Cell(values, {seed: f"{folder}/seed_{seed}" for seed in seeds} if seeds else {None: folder}))
    owners: dict[str, Cell] = {}
    for cell in found:
        for folder in cell.seeds.values():
            if (other := owners.setdefault(folder, cell)) is not cell:
                told = " and ".join(repr(dict(zip(vary, each.values, strict=True))) for each in (other, cell))
                raise ValueError(f"{told} would both be in the folder {folder}")
    return found


def folder_name(name: str, value: Any) -> str:
    """The name of the folder for a setting's value."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", f"{name}={value}").strip("_")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What is varied, and the headline scores of the runs that are finished.

    vary: {setting: values}.  seeds: none where they are not varied.  headlines: {folder: {score: value}}, relative to the sweep's.
    """

    vary: Mapping[str, Sequence[Any]]
    seeds: Sequence[int]
    headlines: Mapping[str, Mapping[str, float]]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Sweep:
        """The inverse of `to_json`; values that were tuples are lists in JSON, and become tuples again.

        Raises:
          ValueError: for what a former version wrote.
        """
        if not isinstance(found["vary"], Mapping):
            raise ValueError("sweep.json was written by a former version; the sweep's own command writes it anew and trains nothing again")
        vary = {name: [tuple(v) if isinstance(v, list) else v for v in values] for name, values in found["vary"].items()}
        return cls(vary, found["seeds"], {run["folder"]: run["headline"] for run in found["runs"]})

    @property
    def scores(self) -> list[str]:
        """Names of the scores, the one that selects checkpoints first."""
        return list(next(iter(self.headlines.values()), {}))

    def scored(self) -> list[Scored]:
        """The cells that have a finished run."""
        found = []
        for cell in cells(self.vary, self.seeds):
            runs = [self.headlines[folder] for folder in cell.seeds.values() if folder in self.headlines]
            if runs:
                values = {name: np.array([run[name] for run in runs]) for name in self.scores}
                mean = {name: float(v.mean()) for name, v in values.items()}
                std = {name: float(v.std(ddof=1)) if len(v) > 1 else float("nan") for name, v in values.items()}
                found.append(Scored(cell, len(runs), mean, std))
        return found

    def text(self) -> str:
        """A table for a terminal: of one setting a column a value, as QEOT's table 3; of several a row a combination. With seeds mean and
        sample standard deviation."""
        found, rows = self.scored(), []
        if len(self.vary) == 1:
            (name,) = self.vary
            rows = [{name: score, **{str(each.cell.values[0]): _shown(each, score) for each in found}} for score in self.scores]
        else:
            for each in found:
                settings = {name: str(value) for name, value in zip(self.vary, each.cell.values, strict=True)}
                rows.append({**settings, **{score: _shown(each, score) for score in self.scores}})
        return report.table(rows, list(rows[0])) if rows else ""

    def to_json(self) -> dict[str, Any]:
        """vary, seeds, runs [{settings, seed, folder, headline}], cells [{settings, runs, mean, std}]; std is None of a single run."""
        runs = [
            {"settings": dict(zip(self.vary, cell.values, strict=True)), "seed": seed, "folder": folder, "headline": self.headlines[folder]}
            for cell in cells(self.vary, self.seeds)
            for seed, folder in cell.seeds.items()
            if folder in self.headlines
        ]
        means = [
            {
                "settings": dict(zip(self.vary, each.cell.values, strict=True)),
                "runs": each.runs,
                "mean": dict(each.mean),
                "std": {name: None if np.isnan(value) else value for name, value in each.std.items()},
            }
            for each in self.scored()
        ]
        return {"vary": {name: list(values) for name, values in self.vary.items()}, "seeds": list(self.seeds), "runs": runs, "cells": means}


def _shown(each: Scored, score: str) -> str | float:
    if np.isnan(each.std[score]):
        return each.mean[score]
    return f"{each.mean[score]:.3f} +- {each.std[score]:.3f}"
