"""Compares runs on a split: scores, whether they differ by more than chance, by class, and where they disagree.

    python -m launch.compare runs/seed_0 runs/seed_1 --out=runs/compared
    python -m launch.compare runs/hvformer runs/rsrnet theirs.jsonl --split=test --names=HVFormer,RSRNeT,theirs --out=runs/compared

Each is a run's workdir (its best step is scored), the directory of one step, or a file of predictions, as launch.evaluate reads and writes
them; these are scored against the task and data of the first run, or of --config where there is none. All runs must have been scored on the
same records: else the first that differs is named.

Differences of the published scores have an interval and a p value by the paired bootstrap over records, and records that are wholly right
McNemar's exact test; of several pairs the p values are also adjusted by Holm's method. Objects are not compared: average precision is no
function of sums over records. Prints the tables, and writes them as compare.md and compare.json into --out, with the records of which runs
say different things (disagreements.jsonl), the differences by class (differences.png) and who agrees with whom (agreement.png).
"""

from __future__ import annotations

from absl import app, flags
from ml_collections import config_flags

from launch import console
from mmre_jax import compare, storage
from mmre_jax.analysis import comparison_report, fonts
from mmre_jax.records import SPLITS

_SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "Which split.")
_OUT = flags.DEFINE_string("out", None, "Folder for what is written.")
_NAMES = flags.DEFINE_list("names", [], "What the runs are called, in their order; else what tells their folders apart.")
_CONFIG = config_flags.DEFINE_config_file("config", None, "Of predictions alone: the configuration that they are scored against.")
_ROOT = flags.DEFINE_string("root", None, "The data set's folder, where it is not where it was in training.")
_CAPTIONS = flags.DEFINE_string("captions", "", "The file of captions, where it is not where it was in training.")
_RESAMPLES = flags.DEFINE_integer("resamples", 10_000, "Of the bootstrap.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap's draws.", lower_bound=0)


def main(*places: str) -> None:
    """Scores, prints, writes."""
    if _CONFIG.value is not None and not all(place.endswith(compare.PREDICTIONS) for place in places):
        raise app.UsageError("--config is for predictions alone: a run has its own")
    logger = console.setup()
    found = compare.runs(
        places,
        _SPLIT.value,
        names=_NAMES.value,
        config=_CONFIG.value,
        root=_ROOT.value or "",
        captions=_CAPTIONS.value,
        resamples=_RESAMPLES.value,
        seed=_SEED.value,
    )
    print(comparison_report.text(found))
    written = comparison_report.write(found, storage.path(_OUT.value))
    for warning in found.warnings():
        logger.warning("warning: %s", warning)
    logger.info("written: %s", ", ".join(map(str, written)))
    if lacking := fonts.advice([*found.names, *found.counts.classes]):
        logger.info("%s", lacking)


if __name__ == "__main__":
    flags.mark_flags_as_required(["out"])
    console.run(main, ["RUN", "RUN", "..."])
