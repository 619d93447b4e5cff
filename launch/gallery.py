"""Trains small runs where there are none, draws every figure of one, and writes docs/gallery.md.

    python -m launch.gallery

Run it where configs/ is. The runs go to runs/gallery/SYSTEM (their settings: mmre_jax/analysis/gallery.py), one picture a figure to
docs/gallery. --records=64 draws means over that many records of the test split.
"""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys
import tempfile

from absl import flags

from launch import console
from mmre_jax import analyse, evaluate, storage
from mmre_jax.analysis import gallery
from mmre_jax.analysis.figures import FIGURES
from mmre_jax.analysis.figures.entry import View
from mmre_jax.analysis.watching import chosen
from mmre_jax.training.locate import is_run
from mmre_jax.training.log import write_text

_OUT = flags.DEFINE_string("out", "docs", "Folder for gallery.md and the folder of its pictures.")
_RECORDS = flags.DEFINE_integer("records", 0, "Draw the first so many records of the test split; 0: all.", lower_bound=0)


def main() -> None:
    """Trains, draws, writes."""
    logger = console.setup()
    out = storage.path(_OUT.value)
    storage.make_folder(out / gallery.FOLDER)
    for system, run in gallery.RUNS.items():
        workdir = gallery.workdir(system)
        if not is_run(workdir):
            logger.info("training %s", workdir)
            subprocess.run([sys.executable, "-m", "launch.train", *run.arguments(workdir)], check=True)
    views = {system: _view(gallery.workdir(system)) for system in gallery.RUNS}
    with tempfile.TemporaryDirectory() as folder:
        for name, entry in FIGURES.items():
            looked = views[entry.systems[0]]
            if entry.compares:
                looked = dataclasses.replace(looked, beside=tuple(views[system] for system in gallery.BESIDE))
            written = analyse.write(analyse.draw(looked, name), name, folder)
            first = next(path for path in written if path.suffix == ".png")
            _keep(first, out / gallery.FOLDER / f"{name}.png")
            logger.info("%s", name)
        evaluate.checkpoint(gallery.workdir(gallery.COUNTED_OF), "test").write(pathlib.Path(folder))
        _keep(pathlib.Path(folder) / f"{gallery.COUNTED}.png", out / gallery.FOLDER / f"{gallery.COUNTED}.png")
    write_text(out / "gallery.md", gallery.page())
    logger.info("%s", out / "gallery.md")


def _view(workdir: str) -> View:
    looked = analyse.view(workdir)
    most = min(_RECORDS.value or len(looked.split.records), len(looked.split.records))
    return dataclasses.replace(looked, split=chosen(looked.split, list(range(most))))


def _keep(picture: pathlib.Path, place: pathlib.Path) -> None:
    storage.write_bytes(place, gallery.small(picture.read_bytes()))


if __name__ == "__main__":
    console.run(main)
