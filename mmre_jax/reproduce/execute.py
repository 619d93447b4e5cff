"""Trains and scores what tables need, each run once, and goes on where it was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import pathlib
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.records import RecordError
from mmre_jax.reproduce import scores
from mmre_jax.reproduce.plan import Planned, folder_name
from mmre_jax.text_files import read_text
from mmre_jax.training import train as train_lib
from mmre_jax.training.interrupt import Interrupted
from mmre_jax.training.lock import WorkdirInUse
from mmre_jax.training.log import write_text

RUNS, SCORES, FAILED = "runs", "scores", "failed.txt"
Parts = Callable[[ConfigDict], Mapping[str, ConfigDict]]  # a pipeline's, of the configuration that it is compared with

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Hands:
    """What does the work: training of a configuration in a folder, and scoring of what was planned (`score`)."""

    train: Callable[[ConfigDict, pathlib.Path], Any]
    score: Callable[[Planned, pathlib.Path, Parts], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a call ended.

    failed: {folder of a run or a score: why}.  left: how many trainings and scores there is still to do, beside those that failed; those
    that another call is at work on among them.
    """

    failed: Mapping[str, str]
    left: int


def trainings(planned: Planned, parts: Parts) -> dict[str, ConfigDict]:
    """{folder below runs/: configuration} of what is trained before a score can be: one run, a pipeline's three, or nothing."""
    assert planned.config is not None, "what lacks a place is not trained"
    if planned.run.how in ("trained", "shuffled"):
        return {planned.name: planned.config}
    if planned.run.how == "pipeline":
        return {folder_name(f"configs/pipeline.py:{part}", config): config for part, config in parts(planned.config).items()}
    return {}


def is_trained(run: pathlib.Path) -> bool:
    """Whether a run has ended: its metrics are written last."""
    return (run / "metrics.json").is_file()


def place(planned: Planned, workdir: pathlib.Path) -> pathlib.Path:
    """The folder of a score."""
    return workdir / RUNS / planned.name / SCORES / planned.score


def todo(planned: Iterable[Planned], workdir: pathlib.Path, parts: Parts) -> tuple[list[str], list[str]]:
    """(folders of the runs, folders of the scores) that are still to be made, each once."""
    runs: dict[str, None] = {}
    scored: dict[str, None] = {}
    for each in planned:
        if each.config is not None and not scores.is_kept(place(each, workdir)):
            scored[f"{each.name}/{SCORES}/{each.score}"] = None
            runs |= dict.fromkeys(name for name in trainings(each, parts) if not is_trained(workdir / RUNS / name))
    return list(runs), list(scored)


def forget_damaged(planned: Iterable[Planned], workdir: pathlib.Path) -> None:
    """Removes results that cannot be read, so that they are made anew. A run that was trained is none the worse."""
    for out in dict.fromkeys(place(each, workdir) for each in planned if each.config is not None):
        try:
            scores.read(out)
        except RecordError as error:
            logger.warning("%s: it is made anew", error)
            (out / scores.RESULT).unlink()


def execute(
    planned: Sequence[Planned],
    workdir: pathlib.Path,
    parts: Parts,
    *,
    max_minutes: float = 0.0,
    hands: Hands | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Does what is not done yet: the first seed of all rows, then the second, and so on. A run that fails is named, and the others go on.

    Args:
      workdir: with a folder for each run, below runs/.
      parts: see Parts.
      max_minutes: after which nothing further begins; 0: all begins.
      hands: what does the work; this library's own if None.
      clock: seconds.

    Raises:
      Interrupted: where a run was stopped by a signal; the same call goes on with it.
    """
    hands, began, failed, busy = hands or HANDS, clock(), dict[str, str](), set[str]()
    runs, scored = todo(planned, workdir, parts)
    logger.info("%d runs to train, %d scores to make", len(runs), len(scored))
    numbers = {name: number for number, name in enumerate(runs, 1)}

    def late() -> bool:
        return bool(max_minutes) and clock() - began >= 60 * max_minutes

    def attempt(name: str, work: Callable[[], Any]) -> None:
        """One run or score; whatever it raises is written beside it and told, and its rows stay open."""
        try:
            work()
        except Interrupted:
            raise
        except WorkdirInUse as error:
            busy.add(name)
            logger.warning("%s is left: %s", name, error)
        except Exception as error:  # whatever it is, the other rows are not to be lost with it
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            logger.error("%s failed: %s", name, failed[name])
            with contextlib.suppress(OSError):  # a full disk, or a file where the folder should be: told it is
                storage.make_folder(workdir / RUNS / name)
                write_text(workdir / RUNS / name / FAILED, f"{failed[name]}\n\n{traceback.format_exc()}")
        else:
            storage.path(workdir / RUNS / name / FAILED).unlink(missing_ok=True)
        finally:
            jax.clear_caches()  # programs of a run are not the next one's

    for each in sorted(planned, key=lambda each: _place_of_seed(each, planned)):
        out = place(each, workdir)
        if each.config is None or scores.is_kept(out):
            continue
        needed = trainings(each, parts)
        for name, config in needed.items():
            if (failed.keys() | busy) & needed.keys():
                break  # a pipeline that lacks a part is not scored; its other parts wait for that
            if is_trained(workdir / RUNS / name):
                continue
            if late():
                return Outcome(failed, _left(planned, workdir, parts, failed))
            logger.info("---- run %d of %d: %s (%s, %s)", numbers[name], len(runs), name, each.entry, each.row.name)
            attempt(name, functools.partial(hands.train, config, workdir / RUNS / name))
        tag = f"{each.name}/{SCORES}/{each.score}"
        if late():
            return Outcome(failed, _left(planned, workdir, parts, failed))
        if not (failed.keys() | busy) & {*needed, tag}:
            logger.info("---- scored: %s (%s, %s)", tag, each.entry, each.row.name)
            attempt(tag, functools.partial(hands.score, each, workdir, parts))
    return Outcome(failed, _left(planned, workdir, parts, failed))


def score(planned: Planned, workdir: pathlib.Path, parts: Parts) -> None:
    """Scores what was planned, by what it says under `how`."""
    config, run, out = planned.config, workdir / RUNS / planned.name, place(planned, workdir)
    assert config is not None, "what lacks a place is not scored"
    if planned.run.scored_with:
        first = dataclasses.replace(planned, run=dataclasses.replace(planned.run, scored_with={}))
        if not scores.is_kept(place(first, workdir)):
            score(first, workdir, parts)
        changed = config.copy_and_resolve_references().unlock()
        changed.update_from_flattened_dict(dict(planned.run.scored_with))
        scores.of_predictions(place(first, workdir) / scores.PREDICTIONS, changed.lock(), out)
    elif planned.run.how == "pipeline":
        runs = [workdir / RUNS / name for name in trainings(planned, parts)]
        scores.of_pipeline(config, dict(zip(parts(config), runs, strict=True)), out)
    elif planned.run.how in ("trained", "shuffled"):
        scores.of_checkpoint(run, out, shuffled=planned.run.how == "shuffled")
    else:
        {"metadata": scores.of_crop_counts, "counts": scores.of_data, "settings": scores.of_settings}[planned.run.how](config, out)


HANDS = Hands(train_lib.train, score)


def failures(planned: Iterable[Planned], workdir: pathlib.Path, parts: Parts) -> dict[str, str]:
    """{folder: what it failed of} of runs and scores of an earlier call that were not made since."""
    found = {}
    for each in planned:
        if each.config is not None and not scores.is_kept(place(each, workdir)):
            for name in (*trainings(each, parts), f"{each.name}/{SCORES}/{each.score}"):
                file = workdir / RUNS / name / FAILED
                if file.is_file():
                    found[name] = read_text(file).partition("\n")[0]
    return found


def _left(planned: Sequence[Planned], workdir: pathlib.Path, parts: Parts, failed: Mapping[str, str]) -> int:
    return sum(len([name for name in names if name not in failed]) for names in todo(planned, workdir, parts))


def _place_of_seed(each: Planned, planned: Sequence[Planned]) -> int:
    seeds = list(dict.fromkeys(other.seed for other in planned))
    return seeds.index(each.seed)
