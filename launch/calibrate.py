"""Fits a temperature to a checkpoint's scores, so that they say how often what is found is right.

    python -m launch.calibrate runs/quickstart
    python -m launch.calibrate runs/quickstart --config.data.name=jsonl --config.data.root=DIR

Training does this by itself when it ends, on val. This command does it for a checkpoint of a former version, for one that was converted,
and on other data than those of training: posts of your own that you have annotated.

Of relations the temperature divides the logits; of mentions and triples it divides the log-odds of their scores, and a bias is added
(mmre_jax/tasks/calibration.py). What is found does not change, nor does any measure. It is kept in the step's folder, as calibration.json,
is used wherever the checkpoint extracts, and --remove removes it. Prints how reliable scores are before and after, on the split it was
fitted on; launch.evaluate does so on another one.
"""

from __future__ import annotations

from absl import app, flags

from launch import config_file, console
from mmre_jax import evaluate
from mmre_jax.analysis import report
from mmre_jax.records import SPLITS
from mmre_jax.training import calibration
from mmre_jax.training.locate import locate

_SPLIT = flags.DEFINE_enum("split", "val", SPLITS, "Which split it is fitted on: one that was not trained on.")
_ROOT = flags.DEFINE_string("root", None, "The data set's folder, where it is not where it was in training.")
_CAPTIONS = flags.DEFINE_string("captions", "", "The file of captions, where it is not where it was in training.")
_DATA = flags.DEFINE_multi_string(
    "data_setting", [], "NAME=VALUE of another data set's section data; --config.data.NAME=VALUE says the same."
)
_REMOVE = flags.DEFINE_bool("remove", False, "Remove what was fitted: scores are told as the system gives them.")


def main(checkpoint: str) -> None:
    """Fits, keeps and prints."""
    logger = console.setup()
    if _REMOVE.value:
        directory, step = locate(checkpoint)
        if not calibration.remove(directory, step):
            raise app.UsageError(f"{checkpoint}: step {step} has no calibration")
        logger.info("removed: %s", directory / str(step) / calibration.FILE)
        return
    given = {"root": _ROOT.value or "", "captions": _CAPTIONS.value, "changes": config_file.data_settings(_DATA.value)}
    file, found = evaluate.calibrate(checkpoint, _SPLIT.value, **given)
    rows = found.rows()
    print("\n".join([report.table(rows, list(rows[0])), *found.says()]))
    logger.info("written: %s", file)


if __name__ == "__main__":
    console.run(main, ["CHECKPOINT"], cached=True)
