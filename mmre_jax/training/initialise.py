"""A new run's parameters from another run's checkpoint: parts by their names, rows of labels and of words by theirs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import tokenizers
from ml_collections import ConfigDict

from mmre_jax import storage, systems
from mmre_jax.training.checkpoint import FOLDER, CheckpointError, Checkpoints
from mmre_jax.training.job import Job, restore_job

logger = logging.getLogger(__name__)

LABELS, WORDS, TYPES, OTHER = "labels", "words", "types", "other"  # what an axis goes by; OTHER: by both or in another way
EMPTY = ("the empty class",)  # the name of a class behind the labels (heads/triples.py); no label is a tuple
SHOWN = 20  # labels named in a line

Path = tuple[str, ...]  # collection, part, and so on
Names = dict[str, Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Source:
    """The checkpoint that a new run starts from. variables: on the host, as they were saved."""

    path: str
    step: int
    job: Job
    variables: Mapping[str, Any]

    @property
    def tokenizer(self) -> str:
        """As JSON."""
        return self.job.task.encoder.tokenizer_json


def open_source(path: str) -> Source:
    """The best checkpoint of a run (its last, where none was scored).

    Raises:
      CheckpointError: where there is none, or it cannot be read.
    """
    folder = storage.at_home(path)
    named = int(folder.name) if folder.name.isdigit() and folder.parent.name == FOLDER else None
    directory = folder / FOLDER if named is None else folder.parent
    if not storage.is_dir(directory):
        raise CheckpointError(f"train.init_from={path}: not the workdir of a run: there is no folder {FOLDER}")
    with Checkpoints(directory, read_only=True) as found:
        step = found.preferred() if named is None else named
        if step is None:
            raise CheckpointError(f"train.init_from={path}: there is no complete checkpoint")
        return Source(path, step, restore_job(found.meta(step), found.where(step)), found.read_variables(step))


def check_tokenizer(source: Source, job: Job) -> None:
    """Refuses a job whose tokenizer is not the checkpoint's: the rows of its word table would mean other words.

    Raises:
      CheckpointError: naming both.
    """
    ours, theirs = (tokenizers.Tokenizer.from_str(x.task.encoder.tokenizer_json) for x in (job, source.job))
    if ours.to_str() != theirs.to_str():
        sizes = f"of {ours.get_vocab_size():,} entries, the checkpoint's of {theirs.get_vocab_size():,}"
        raise CheckpointError(
            f"text.weights={job.config.text.weights} has another tokenizer ({sizes}) than train.init_from={source.path}: "
            "leave text.weights out to take the checkpoint's"
        )


def initialise(source: Source, job: Job, variables: Mapping[str, Any], batch: Mapping[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """A new run's variables: of each part (top-level name of the parameters) the checkpoint's, where it fits; the log says which.

    In a part that fits, all axes have the checkpoint's sizes, but for those that go by labels, by words or by entity types: there the rows
    that both have are taken, by name, and the others stay as they are. A head fits no other task.

    Args:
      job: of the new run.
      variables: as they would start without the checkpoint.
      batch: any of the new run; of it only shapes matter.
      parts: the parts to take; () for all that fit.

    Raises:
      CheckpointError: for a part of `parts` that does not fit, is not there, or if none fits.
    """
    axes, here, there = label_axes(job, batch), _flat(variables), _flat(source.variables)
    own = list(variables["params"])
    if unknown := [part for part in parts if part not in own]:
        raise CheckpointError(f"train.init_parts names {', '.join(unknown)}; the parts of this system are {', '.join(own)}")
    reasons = {part: _misfits(source.job, job, _part(here, part), _part(there, part), axes) for part in own}
    if bad := [part for part in parts if reasons[part]]:
        raise CheckpointError(f"train.init_from={source.path}: " + "; ".join(f"{part} does not fit: {reasons[part]}" for part in bad))
    taken = [part for part in parts or own if not reasons[part]]
    if not taken:
        raise CheckpointError(f"train.init_from={source.path}: no part fits: " + "; ".join(f"{k}: {v}" for k, v in reasons.items()))
    ours, theirs = _names(job), _names(source.job)
    filled = dict(here)
    for path in (path for part in taken for path in _part(here, part)):
        filled[path] = _merged(np.asarray(here[path]), np.asarray(there[path]), axes[path], ours, theirs)
    logger.info("starting from step %d of %s", source.step, source.path)
    for part in own:
        _tell(part, part in taken, reasons[part], {axis for path in _part(here, part) for axis in axes[path]}, ours, theirs)
    return flax.traverse_util.unflatten_dict(filled)


def label_axes(job: Job, batch: Mapping[str, Any]) -> dict[Path, tuple[str, ...]]:
    """For each axis of each variable LABELS, WORDS, TYPES, OTHER or '': which grow by one with another label, and by two with two more
    words; or at all with another entity type, of a system that has such. One that has several places for each label, one label's behind the
    other's, is 'labels x 4', or whatever their number.

    So a system need not say it of its parameters, and cannot say it wrongly.
    """
    labels, words, types = job.task.labels, job.task.encoder.vocab_size, _types(job)

    def shapes(labels: tuple[str, ...], words: int, types: tuple[str, ...] = types) -> dict[Path, Any]:
        config = job.config
        if types != _types(job):
            config = ConfigDict(config.to_dict())
            config.system.types = types
        system = systems.build(config, vocab_size=words, labels=labels)
        return _flat(jax.eval_shape(system.init, jax.random.key(0), batch))

    own, grown = shapes(labels, words), shapes((*labels, "B-another label"), words + 2)
    typed = shapes(labels, words, (*types, "another type")) if types else own
    kinds = {0: "", 1: LABELS, 2: WORDS}

    def kind(size: int, more: int, of_types: int) -> str:
        if of_types != size:
            return TYPES
        several = f"{LABELS} x {more - size}" if size == (more - size) * len(labels) else OTHER
        return kinds.get(more - size, several)

    return {path: tuple(map(kind, leaf.shape, grown[path].shape, typed[path].shape)) for path, leaf in own.items()}


def _types(job: Job) -> tuple[str, ...]:
    """The entity types of a system that tells such."""
    return tuple(job.config.system.get("types", ()))


def _flat(variables: Any) -> dict[Path, Any]:
    return flax.traverse_util.flatten_dict(variables)


def _part(flat: Mapping[Path, Any], part: str) -> dict[Path, Any]:
    """A part in all collections."""
    return {path: leaf for path, leaf in flat.items() if path[1] == part}


def _names(job: Job) -> Names:
    """The names along the axes that go by something; those of words are ids of the tokenizer, and added tokens."""
    encoder = job.task.encoder
    words: list[Any] = [*range(encoder.vocab_size - len(encoder.added)), *encoder.added]
    return {LABELS: job.task.labels, WORDS: words, TYPES: _types(job)}


def _along(names: Names, axis: str, size: int) -> list[Any] | None:
    """The names along an axis of a size; None where they do not go with it."""
    if axis in (WORDS, TYPES):
        return list(names[axis]) if size == len(names[axis]) else None
    several, known = int(axis.partition(" x ")[2] or 1), list(names[LABELS])
    if size == several * (len(known) + 1):
        known.append(EMPTY)
    return [(name, place) for name in known for place in range(several)] if size == several * len(known) else None


def _misfits(theirs: Job, ours: Job, here: Mapping[Path, Any], there: Mapping[Path, Any], axes: Mapping[Path, tuple[str, ...]]) -> str:
    """Why a part of a checkpoint cannot be taken; '' where it can."""
    if not there:
        return "the checkpoint has none"
    tasks = [str(job.config.task.name) for job in (theirs, ours)]
    if tasks[0] != tasks[1] and any(axis.startswith(LABELS) for path in here for axis in axes[path]):
        return f"it is a head of task {tasks[0]}, here {tasks[1]}"
    problems = [f"{_shown(path)} is not in the checkpoint" for path in sorted(here.keys() - there.keys())]
    problems += [f"{_shown(path)} is not in this configuration" for path in sorted(there.keys() - here.keys())]
    names = _names(theirs), _names(ours)
    for path in sorted(here.keys() & there.keys()):
        shapes = tuple(np.shape(there[path])), tuple(np.shape(here[path]))
        if len(shapes[0]) != len(shapes[1]) or not all(map(_fits, axes[path], *shapes, [names] * len(axes[path]))):
            problems.append(f"{_shown(path)} is {shapes[0]} in the checkpoint, {shapes[1]} here")
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return ", ".join(problems[:3]) + more


def _fits(axis: str, there: int, here: int, names: tuple[Names, Names]) -> bool:
    if axis in ("", OTHER):  # what goes by labels in a way of its own is taken where it goes by the same ones
        return there == here and (not axis or all(list(names[0][x]) == list(names[1][x]) for x in (LABELS, WORDS)))
    return all(_along(known, axis, size) is not None for known, size in zip(names, (there, here), strict=True))


def _merged(here: np.ndarray, there: np.ndarray, axes: Sequence[str], ours: Names, theirs: Names) -> np.ndarray:
    """`here` with the rows that both have, along every axis, from `there`."""
    targets, origins = [], []
    for axis, size, other in zip(axes, here.shape, there.shape, strict=True):
        if axis not in ("", OTHER):
            places = {name: i for i, name in enumerate(_along(theirs, axis, other) or ())}
            pairs = [(i, places[name]) for i, name in enumerate(_along(ours, axis, size) or ()) if name in places]
        else:
            pairs = [(i, i) for i in range(size)]
        targets.append([i for i, _ in pairs])
        origins.append([i for _, i in pairs])
    merged = np.array(here)
    merged[np.ix_(*targets)] = there[np.ix_(*origins)]
    return merged


def _shown(path: Path) -> str:
    return "/".join(path[1:] if path[0] == "params" else path)


def _tell(part: str, taken: bool, reason: str, axes: set[str], ours: Names, theirs: Names) -> None:
    """Says what became of a part."""
    if not taken:
        logger.info("  %s starts fresh: %s", part, reason or "train.init_parts does not name it")
        return
    said = []
    if any(axis.startswith(LABELS) for axis in axes):
        shared = [label for label in ours[LABELS] if label in theirs[LABELS]]
        said.append(f"labels taken: {_listed(shared)}")
        said.append(f"fresh: {_listed(x for x in ours[LABELS] if x not in theirs[LABELS])}")
        said.append(f"left behind: {_listed(x for x in theirs[LABELS] if x not in ours[LABELS])}")
    if TYPES in axes and list(ours[TYPES]) != list(theirs[TYPES]):
        said.append(f"entity types that start fresh: {_listed(x for x in ours[TYPES] if x not in theirs[TYPES])}")
    if WORDS in axes and list(ours[WORDS]) != list(theirs[WORDS]):
        known = set(theirs[WORDS])
        said.append(f"rows of words that start fresh: {_listed(str(x) for x in ours[WORDS] if x not in known)}")
    logger.info("  %s is the checkpoint's%s", part, f" ({'; '.join(said)})" if said else "")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "none") + more
