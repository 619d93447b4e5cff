"""Scores a checkpoint, any program's predictions, or a prompted model's answers on a split.

    python -m launch.evaluate --checkpoint=runs/quickstart --split=test
    python -m launch.evaluate --checkpoint=runs/quickstart --split=val --precision=0.9
    python -m launch.evaluate --checkpoint=runs/quickstart --config.data.name=jsonl --config.data.root=DIR
    python -m launch.evaluate --predictions=FILE.jsonl --config=configs/hvformer.py:mnre --config.data.root=DIR --split=test
    python -m launch.evaluate --answers=FILE.jsonl --prompts=DIR --config=configs/hvformer.py:mnre --config.data.root=DIR --split=test

Prints a table per class (relations, types of entities, or classes of objects), of relations one by how often training had them, one of
slices of the data, and one of how reliable scores are, and writes metrics.json, predictions.jsonl, of relations confusion.png and
training_count.png, and reliability.png into --out (by default WORKDIR/evaluation/SPLIT; for predictions, a folder beside the file).

Whether scores say how often predictions are right is told by calibration errors (ece, with 15 bins of equal width, and adaptive_ece, with
equally many predictions in each), nll and brier (mmre_jax/analysis/reliability.py), of the scores as predicted and, where launch.calibrate
has fitted a temperature, of the calibrated ones. --precision=0.9 names the least score from which on so many predictions of this split are
right: what launch.extract takes as --min_score. Choose it on val: of the split that is scored last it says too much.

--config.data.NAME=VALUE shows a checkpoint another data set, or one in another format, whose labels it has.

Predictions of any other program, a vision-language model's say, are JSON lines, one for each example of the split:
    {"id": example, "relation": label}                                                            (task relation)
    {"id": example, "mentions": [{"span": [start, end], "type": "PER"}]}                          (task entities)
    {"id": example, "triples": [{"span": [start, end], "relation": label, "box": [x0, y0, x1, y1]}]}   (task triples)
    {"id": example, "regions": [{"box": [x0, y0, x1, y1], "label": class}]}                       (task objects)
with spans in words, end-exclusive, boxes divided by the picture's size, and, where there is one, a "score" beside each
relation, type or class; average precision ranks boxes by it. Or they are the extracted.jsonl of launch.extract, a line for each record.
Of such a line a pair that was left out, for its score say, has no relation, and what was found on none of the split's words is wrong.
The task is the configuration's; the predictions.jsonl of a checkpoint shows the ids. Relation and entity accuracy of triples are those of
all of a checkpoint's queries, and, in a file, those of the triples that it holds: gold triples left without one count as wrong in both.

--answers=FILE,FILE are those of a prompted model to the requests that launch.prompts wrote into the folder --prompts: JSON lines
{"custom_id", "response", "error"} as batches give them back, in any order. A relation is read where the answer is the name of one label,
white space around it and letter case aside, and else, as where a request failed or was never answered, scored as the empty one; of
entities and triples nothing is then found (mmre_jax/prompts/reading.py). How many that are and why is told, and unread.jsonl beside the
results lists them. So is what a thousand records cost in tokens, as the answers tell it, and with --price=IN,OUT, of a million tokens of
prompts and of answers, in money.
"""

from __future__ import annotations

import pathlib

from absl import app, flags
from ml_collections import config_flags

from launch import config_file, console
from mmre_jax import evaluate, storage
from mmre_jax.analysis import fonts
from mmre_jax.analysis.evaluation import Evaluation
from mmre_jax.prompts.answers import Answers
from mmre_jax.records import SPLITS, as_number
from mmre_jax.tasks import task as task_lib
from mmre_jax.training.locate import locate

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir (its best step is taken) or the directory of one step.")
_PREDICTIONS = flags.DEFINE_string("predictions", None, "JSON lines to be scored instead of a checkpoint; see above.")
_ANSWERS = flags.DEFINE_list("answers", [], "FILE,FILE: answers to the requests of launch.prompts, to be scored instead; see above.")
_PROMPTS = flags.DEFINE_string("prompts", None, "With --answers: the folder of the requests.")
_PRICE = flags.DEFINE_list("price", [], "With --answers: IN,OUT: the price of a million tokens of prompts, and of answers.")
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "With --predictions and --answers: the configuration whose task and data are scored against."
)
_SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "Which split.")
_ROOT = flags.DEFINE_string("root", None, "The data set's folder, where it is not where it was in training.")
_CAPTIONS = flags.DEFINE_string("captions", "", "The file of captions, where it is not where it was in training.")
_SHUFFLE = flags.DEFINE_bool("shuffle_pictures", False, "Show every record with another record's picture.")
_FEATURES = flags.DEFINE_enum("features", None, ("none", "cache"), "Instead of the checkpoint's data.features: see launch.settings.")
_PRECISION = flags.DEFINE_float("precision", None, "Find the least score from which on predictions are right so often.", 0.0, 1.0)
_DATA = flags.DEFINE_multi_string(
    "data_setting", [], "With --checkpoint: NAME=VALUE of another data set's section data; --config.data.NAME=VALUE says the same."
)
_OUT = flags.DEFINE_string("out", None, "Folder for the results.")


def main() -> None:
    """Evaluates and prints."""
    given = [flag.name for flag in (_CHECKPOINT, _PREDICTIONS, _ANSWERS) if flag.value]
    if len(given) != 1:
        raise app.UsageError("give either --checkpoint, --predictions or --answers")
    if ("checkpoint" in given) != (_CONFIG.value is None):
        needs = "--predictions and --answers need --config, whose task and data say what they are scored against"
        raise app.UsageError(f"{needs}; --checkpoint has its own")
    for flag in (_SHUFFLE, _CAPTIONS, _FEATURES, _DATA):
        if "checkpoint" not in given and flag.value:
            raise app.UsageError(f"--{flag.name} needs --checkpoint")
    for flag in (_PROMPTS, _PRICE):
        if "answers" not in given and flag.value:
            raise app.UsageError(f"--{flag.name} needs --answers")
    if "answers" in given and (_PROMPTS.value is None or _PRECISION.value is not None):
        raise app.UsageError("--answers needs --prompts, the folder of the requests, and has no scores for --precision")
    logger = console.setup()
    answers = None
    if "answers" in given:
        evaluation, answers, out = _of_answers()
    else:
        evaluation, out = _of_checkpoint() if "checkpoint" in given else _of_predictions()
    print("\n\n".join([evaluation.text(), *([] if answers is None else [answers.text()])]))
    written = evaluation.write(out) + ([] if answers is None else answers.write(out))
    told = {name: value for name, value in evaluation.protocol.items() if name != "warning"}
    logger.info("protocol: %s", ", ".join(f"{name} {value}" for name, value in told.items()))
    logger.info("%s: %s", evaluation.split, task_lib.as_line(evaluation.headline()))
    if "warning" in evaluation.protocol:
        logger.warning(evaluation.protocol["warning"])
    logger.info("written: %s", ", ".join(map(str, written)))
    if any(path.suffix == ".png" for path in written) and (lacking := fonts.advice(evaluation.task.labels)):
        logger.info("%s", lacking)


def _of_checkpoint() -> tuple[Evaluation, pathlib.Path]:
    directory, _ = locate(_CHECKPOINT.value)
    changes = config_file.data_settings(_DATA.value)
    name = "_".join([_SPLIT.value, *([str(changes.get("name", "other"))] if changes else []), *(["shuffled"] if _SHUFFLE.value else [])])
    out = storage.path(_OUT.value) if _OUT.value else directory.parent / "evaluation" / name
    given = {"root": _ROOT.value or "", "captions": _CAPTIONS.value, "shuffle": _SHUFFLE.value, "features": _FEATURES.value or ""}
    given |= {"changes": changes, "precision": _PRECISION.value}
    return evaluate.checkpoint(_CHECKPOINT.value, _SPLIT.value, **given), out


def _of_predictions() -> tuple[Evaluation, pathlib.Path]:
    out = storage.path(_OUT.value) if _OUT.value else storage.path(_PREDICTIONS.value).with_suffix(f".{_SPLIT.value}")
    return evaluate.predictions(_PREDICTIONS.value, _CONFIG.value, _SPLIT.value, root=_ROOT.value or "", precision=_PRECISION.value), out


def _of_answers() -> tuple[Evaluation, Answers, pathlib.Path]:
    price = None
    if _PRICE.value:
        known = [number for number in map(_number, _PRICE.value) if number is not None]
        if len(known) != 2 or len(_PRICE.value) != 2:
            raise app.UsageError(f"--price={','.join(_PRICE.value)}: expected IN,OUT, two numbers that are not negative")
        price = known[0], known[1]
    out = storage.path(_OUT.value) if _OUT.value else storage.path(_ANSWERS.value[0]).with_suffix(f".{_SPLIT.value}")
    places = {"root": _ROOT.value or "", "price": price}
    return *evaluate.answers(_ANSWERS.value, _PROMPTS.value, _CONFIG.value, _SPLIT.value, **places), out


def _number(text: str) -> float | None:
    try:
        found = as_number(float(text))
    except ValueError:
        return None
    return found if found is not None and found >= 0 else None


if __name__ == "__main__":
    console.run(main, cached=True)
