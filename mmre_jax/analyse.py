"""Draws a figure of a checkpoint: what launch.analyse writes. The figures are in mmre_jax/analysis/figures."""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from mmre_jax import extract, storage
from mmre_jax.analysis import plots
from mmre_jax.analysis.figures import FIGURES
from mmre_jax.analysis.figures.entry import Drawn, View
from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet
from mmre_jax.declare import did_you_mean
from mmre_jax.training.locate import locate
from mmre_jax.training.log import write_json, write_text
from mmre_jax.training.splits import make_split

ALL = "all"  # instead of a figure's name: every one that the system has


def check(name: str, *, compares: bool = False) -> None:
    """Raises ValueError for a name that is neither a figure's nor ALL, and, where it is to compare, for a figure that does not."""
    if name != ALL and name not in FIGURES:
        raise ValueError(f"there is no figure {name!r}{did_you_mean(name, [*FIGURES, ALL])}")
    able = [other for other, entry in FIGURES.items() if entry.compares]
    if compares and name not in (ALL, *able):
        raise ValueError(f"figure {name!r} shows one checkpoint: --beside is for {', '.join(able)}")


def view(
    path: str | os.PathLike[str],
    split: str = "test",
    *,
    ids: Sequence[str] = (),
    beside: Sequence[str | os.PathLike[str]] = (),
    root: str = "",
    captions: str = "",
    dataset: DataSet | None = None,
) -> View:
    """A checkpoint and a split of its data, to look at on all local devices.

    Args:
      path: a run's workdir (its best step is taken) or the directory of one step.
      split: train (of it what the run was trained on), val or test.
      ids: examples that are looked at; all where empty, of which figures of single records show those that they find good.
      beside: other runs or steps, for figures that compare.
      root: the data set's folder, where it is not where it was in training.
      captions: the file of captions, where it is not where it was in training.
      dataset: a user's own that the checkpoint was trained on, if it is not one of datasets.DATASETS.

    Raises:
      CheckpointError: if there is no checkpoint, or it is of another format or version.
      ValueError, RecordError: as `datasets.open_records`.
    """
    extractor = extract.load(path, devices=0)
    data = extractor.job.config.data.copy_and_resolve_references().unlock()
    data.root, data.captions = root or data.root, captions or data.captions
    records = datasets.open_records(data, split, dataset)
    shown = make_split(extractor.job, records, train=split == "train", data=data, dataset=dataset)
    workdir = pathlib.Path(locate(path)[0]).parent
    others = tuple(view(other, split, ids=ids, root=root, captions=captions, dataset=dataset) for other in beside)
    devices = extractor.predictor.devices
    return View(extractor.job, devices, extractor.variables, workdir, extractor.step, split, shown, tuple(ids), others)


def draw(looked: View, name: str) -> Drawn:
    """A figure, as arrays, facts and pages.

    Args:
      name: of FIGURES.

    Raises:
      ValueError: for an unknown figure, or one that the system, the run or the data cannot give.
    """
    check(name)
    system = looked.job.config.system.name
    if lacking := FIGURES[name].lacking(looked.job, looked.shapes):
        able = [other for other, entry in FIGURES.items() if not entry.lacking(looked.job, looked.shapes)]
        instead = f"what can be drawn of it: {', '.join(able)}" if able else "no figure can be drawn of it"
        raise ValueError(f"figure {name!r} shows {' and '.join(lacking)}, which this checkpoint of {system!r} does not have; {instead}")
    return FIGURES[name].draw(looked)


def write(drawn: Drawn, name: str, out: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes NAME.npz (arrays), NAME.json (facts, and the arrays' shapes), NAME.md where there is a table, and NAME.png, of several pages
    NAME_SUFFIX.png, into a folder, each whole or not at all. Returns what it wrote, pictures last."""
    folder = storage.path(out)
    storage.make_folder(folder)
    packed = io.BytesIO()
    np.savez_compressed(packed, **drawn.arrays)
    storage.write_bytes(folder / f"{name}.npz", packed.getvalue())
    shapes = {key: list(array.shape) for key, array in drawn.arrays.items()}
    write_json(folder / f"{name}.json", {"figure": name, "paper": FIGURES[name].paper, **drawn.facts, "arrays": shapes})
    tables = [folder / f"{name}.md"] if drawn.table else []
    for place in tables:
        write_text(place, drawn.table)
    pages = [folder / (f"{name}_{suffix}.png" if suffix else f"{name}.png") for suffix in drawn.pages]
    for page, place in zip(drawn.pages.values(), pages, strict=True):
        plots.save(page, place)
    return [folder / f"{name}.npz", folder / f"{name}.json", *tables, *pages]


def listed() -> str:
    """The figures, one a line or two: name, what it shows, which published figure it is, and of which systems it can be drawn."""
    longest = max(map(len, FIGURES))
    lines = []
    for name, entry in FIGURES.items():
        paper = f" ({entry.paper})" if entry.paper else ""
        lines += [f"  {name:<{longest}}  {entry.about}{paper}", f"  {'':<{longest}}  of {', '.join(entry.systems)}"]
    return "\n".join(lines)
