"""Draws a figure of how a checkpoint sees: attention, tracking maps, levels, experts.

    python -m launch.analyse --checkpoint=runs/quickstart kurtosis
    python -m launch.analyse --checkpoint=runs/quickstart tracking_photo --records=scenes:relations:0:test:0
    python -m launch.analyse --checkpoint=runs/quickstart all
    python -m launch.analyse --checkpoint=runs/a --beside=runs/b,runs/c case_study

Writes FIGURE.png, what it shows as arrays in FIGURE.npz, and what their axes are in FIGURE.json, into --out (by default
WORKDIR/analysis/SPLIT). Means are over all records of the split; figures of single records show the first ones that have a picture.
--records says which are to be looked at instead. case_study shows several checkpoints on the same records, and writes a table into
case_study.md. `all` draws every figure that the system has, and names the others.
"""

from __future__ import annotations

from absl import flags

from launch import console
from mmre_jax import analyse, storage
from mmre_jax.analysis.figures import FIGURES
from mmre_jax.records import SPLITS

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir (its best step is taken) or the directory of one step.")
_SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "Which split.")
_RECORDS = flags.DEFINE_list("records", [], "ID,ID: the records that are looked at.")
_BESIDE = flags.DEFINE_list("beside", [], "RUN,RUN: other checkpoints, which a figure that compares shows beside the first.")
_ROOT = flags.DEFINE_string("root", None, "The data set's folder, where it is not where it was in training.")
_CAPTIONS = flags.DEFINE_string("captions", "", "The file of captions, where it is not where it was in training.")
_OUT = flags.DEFINE_string("out", None, "Folder for the figures.")


def main(figure: str) -> None:
    """Draws one figure or all, and names what was written."""
    logger = console.setup()
    analyse.check(figure, compares=bool(_BESIDE.value))
    places = {"root": _ROOT.value or "", "captions": _CAPTIONS.value}
    looked = analyse.view(_CHECKPOINT.value, _SPLIT.value, ids=_RECORDS.value, beside=_BESIDE.value, **places)
    out = storage.path(_OUT.value) if _OUT.value else looked.workdir / "analysis" / _SPLIT.value
    for name in FIGURES if figure == analyse.ALL else (figure,):
        if figure == analyse.ALL and (lacking := FIGURES[name].lacking(looked.job, looked.shapes)):
            logger.info("%s: left out: no %s", name, " and no ".join(lacking))
            continue
        written = analyse.write(analyse.draw(looked, name), name, out)
        logger.info("%s: %s", name, ", ".join(map(str, written)))


if __name__ == "__main__":
    __doc__ = f"{__doc__}\nFigures:\n{analyse.listed()}\n"
    flags.mark_flags_as_required(["checkpoint"])
    console.run(main, ["FIGURE"], cached=True)
