"""The authors' released checkpoints as checkpoints of this library, and back.

A converted checkpoint is a run's workdir, TARGET/checkpoints/0, that everything takes which takes a run. Beside it lie the tensors that
the released forward pass never reads, as they were (unread.safetensors), and why they are not read (released.json), so that the way back
is exact. A run of a released arithmetic that was trained here has none of those, and gets made-up ones (weights/released_runs.py).
"""

from __future__ import annotations

import copy
import json
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy
from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.convert.files import free_file, free_folder, restored, whole
from mmre_jax.data.text import TextEncoder
from mmre_jax.data.tokenizer_files import load_tokenizer
from mmre_jax.tasks.entities import SPECIAL_TAGS
from mmre_jax.text_files import read_json
from mmre_jax.training import state as state_lib
from mmre_jax.training.checkpoint import FOLDER, CheckpointError, Checkpoints
from mmre_jax.training.job import Job, make_job, shapes
from mmre_jax.training.locate import locate
from mmre_jax.weights import hub, pretrained, released
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.released_runs import kind_of, never_read
from mmre_jax.weights.state_dicts import PAD, Release

UNREAD, ABOUT = "unread.safetensors", "released.json"
HALF = (np.dtype(np.float16), np.dtype(jnp.bfloat16))
# As in the released code for Twitter-2015 and -2017.
RELEASED_TAGS = (PAD, "O", *(f"{part}-{kind}" for kind in ("MISC", "PER", "ORG", "LOC") for part in "BI"), *SPECIAL_TAGS[1:])

logger = logging.getLogger(__name__)


def convert(
    release: Release,
    config: ConfigDict,
    target: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str],
    labels: Sequence[str] = (),
    none: str = "",
    max_tokens: int = 0,
    heads: int = 0,
) -> Job:
    """Writes a checkpoint directory in the reference flavour.

    Args:
      release: what to convert.
      config: variant `reference` of its system's configuration. All sizes are read from the tensors.
      target: the directory to make; it must not exist, or be empty. It is there whole or not at all.
      tokenizer: a transformers directory with the tokenizer, of as many entries as the word table has rows beside the added markers.
      labels: relations or tags by id, as many as the tensors tell apart; of tags PAD may be left out where it is the first. None given:
        for 13 tags the released ones, for relations an error.
      none: the relation that says that none holds; '' for the one called 'None', in whatever case.
      max_tokens: longest sequence; 0 for the released code's (weights/released.py).
      heads: of all attention, which no shape shows; 0 for heads of 64, as released.

    Returns:
      What was written, less its variables: the configuration, the task and the system.

    Raises:
      FileExistsError: a target that is there already, and other OSErrors of files.
      WeightError: tensors that are missing, surplus or of another shape, all of them named; labels or a tokenizer that do not fit them.
    """
    target = free_folder(target)
    changes = released.sizes(release.kind, release.tensors, heads=heads)
    task = changes["task.name"]
    names = _labels(release, task, labels)
    text = _tokenizer(release, tokenizer, task, changes)
    job = make_job(_sized(config, changes, max_tokens), names, _none(names, none) if task == "relation" else "O", text)
    longest = job.system.net.config.text.max_length
    if job.config.text.max_tokens > longest:
        raise WeightError(f"{release.source}: its position table ends behind {longest} tokens, max_tokens is {job.config.text.max_tokens}")
    variables = released.read(release.kind, release.tensors, shapes(job), job.system, source=release.source)
    reasons = dict(sorted(released.unread(release.kind, release.tensors, job.system).items()))
    kept = {name: np.ascontiguousarray(release.tensors[name]).reshape(release.tensors[name].shape) for name in reasons}
    back = released.write(release.kind, variables, kept, job.system)
    _check_way_back(release, {name: _as(tensor, release.tensors[name].dtype) for name, tensor in back.items()})
    about = {
        "kind": release.kind,
        "source": pathlib.Path(release.source).name,
        "names": {name: found for name, found in release.names.items() if found != name},
        "half": {name: str(tensor.dtype) for name, tensor in release.tensors.items() if tensor.dtype in HALF and name not in kept},
        "unread": reasons,
    }
    with whole(target) as folder:
        folder.mkdir(parents=True)
        state = state_lib.create(variables, job.config.optim.frozen, optax.identity())  # without an optimiser: no run is to go on from it
        with Checkpoints(folder / FOLDER) as checkpoints:
            checkpoints.save(0, state, job.meta())
        safetensors.numpy.save_file(kept, folder / UNREAD)
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    logger.info("%d tensors read, %d kept as they are in %s: %s", len(release.tensors) - len(kept), len(kept), UNREAD, target)
    return job


def export(checkpoint: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Writes a run under the authors' keys, as safetensors: the inverse of `convert`.

    A directory that `convert` wrote gives the state dict that it was made of, bit for bit. A run of a released arithmetic
    (system.flavour=reference) that was trained here gives every tensor of a release of its sizes, those included that the released code
    never reads but `load_state_dict` wants: constants as they are, norms that change nothing, zeros (weights/released_runs.py). The file's
    metadata name them under `filled`, and the labels, in the order of the classifier's rows, under `labels`.

    Args:
      checkpoint: a directory that `convert` wrote, or the workdir of a run, its folder of checkpoints, or a step in it.
      path: the file to make; it must not exist.

    Raises:
      FileExistsError: a file that is there already.
      CheckpointError: a checkpoint that is damaged or not there.
      WeightError: a path that is not called *.safetensors, unread tensors that are lost; a run of an arithmetic that nobody released, or of
        settings that no release of its kind has: it says which.
    """
    path = free_file(path, "a state dict")
    directory, step = locate(checkpoint)
    converted = (directory.parent / ABOUT).is_file()
    job, variables = restored(directory, step)
    if converted:
        kind, tensors = _as_it_was(directory.parent, job, variables)
        about = {"format": "pt"}
    else:
        kind = kind_of(job.config)
        tensors = released.write(kind, variables, {}, job.system)
        filled = never_read(kind, job.config, job.system, tensors)
        tensors |= filled
        labels = json.dumps(list(job.task.labels), ensure_ascii=False)
        about = {"format": "pt", "kind": kind, "labels": labels, "filled": json.dumps(sorted(filled))}
        logger.info("%d tensors that the released code never reads are filled in: constants, norms that change nothing, zeros", len(filled))
        logger.info("%d labels in the order of its rows: %s", len(job.task.labels), " ".join(job.task.labels))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        safetensors.numpy.save_file(tensors, file, about)
    logger.info("%d tensors of %s: %s", len(tensors), kind, path)


def _as_it_was(folder: pathlib.Path, job: Job, variables: Mapping[str, Any]) -> tuple[str, dict[str, np.ndarray]]:
    """The kind, and the tensors by the names in the file, of what `convert` made the folder of."""
    about = _about(folder)
    with storage.at_hand(folder / UNREAD) as file:
        kept = hub.read_file(file, upcast=False)
    if lost := sorted(set(about["unread"]) ^ set(kept)):
        raise WeightError(f"{folder / UNREAD} and {ABOUT} disagree on {', '.join(lost)}")
    tensors = released.write(about["kind"], variables, kept, job.system)
    tensors = {name: _as(tensor, np.dtype(about["half"].get(name, tensor.dtype))) for name, tensor in tensors.items()}
    names = about.get("names", {})  # a checkpoint that was written before there were such has one prefix for all
    return about["kind"], {names.get(name, about.get("prefix", "") + name): x for name, x in tensors.items()}


def _labels(release: Release, task: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The task's labels, as many as the tensors tell apart."""
    count, head = released.classes(release.kind, release.tensors), released.classifier(release.kind)
    if task == "relation" and not labels:
        raise WeightError(f"{release.source} tells {count} relations apart: give their names, in the order of the rows of {head}")
    if not labels and count == len(RELEASED_TAGS):
        logger.info("no labels given: the %d tags of the released code: %s", count, " ".join(RELEASED_TAGS))
        return RELEASED_TAGS
    if task == "relation" and PAD in labels:
        raise WeightError(f"the ids of relations start at 0: {PAD} stands for an id 0 that is not listed")
    names = (PAD, *labels) if task == "entities" and PAD not in labels else tuple(labels)
    if len(names) != count:
        given = f"{len(labels)} labels are given" + (f" ({len(names)} with {PAD})" if len(names) > len(labels) else "")
        kind = "relations" if task == "relation" else "tags"
        raise WeightError(f"{release.source} tells {count} {kind} apart, {given} ({head} has {count} rows)")
    return names


def _none(labels: Sequence[str], none: str) -> str:
    found = [label for label in labels if (label == none if none else label.lower() == "none")]
    if len(found) != 1:
        wanted = f"called {none!r}" if none else "called None, in any case: name the one that says that no relation holds"
        raise WeightError(f"of the labels {', '.join(labels)} {len(found) or 'none'} is {wanted}")
    return found[0]


def _tokenizer(release: Release, directory: str | os.PathLike[str], task: str, changes: Mapping[str, Any]) -> str:
    """The tokenizer as JSON, checked against the word table."""
    found = load_tokenizer(directory)
    own = TextEncoder(found, markers=False).vocab_size
    encoder = TextEncoder(found, as_released=True, markers=task == "relation")
    rows = released.vocab_rows(release.kind, release.tensors)
    if encoder.vocab_size != rows:
        entries = f"{own} entries" + (f" and {encoder.vocab_size - own} added markers" if task == "relation" else "")
        needed = f"a tokenizer of {entries} needs {encoder.vocab_size} rows"
        raise WeightError(f"{directory}: {needed}, the word table of {release.source} has {rows} ({released.word_table(release.kind)})")
    if changes["text.kind"] == "roberta" and encoder.special_ids["pad"] != changes["text.pad_id"]:
        pad = encoder.special_ids["pad"]
        raise WeightError(f"{directory}: {release.kind} has padding of id {changes['text.pad_id']}, this tokenizer's is {pad}")
    return found


def _sized(config: ConfigDict, changes: Mapping[str, Any], max_tokens: int) -> ConfigDict:
    config = ConfigDict(copy.deepcopy(config.to_dict()))
    config.update_from_flattened_dict(changes)
    config.text.max_tokens = max_tokens or config.text.max_tokens
    # As released: every sequence is padded to the longest, and the image streams of IFAformer and MKGformer see the padding.
    config.data.buckets = (config.text.max_tokens,)
    return pretrained.resolve(config)


def _as(tensor: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A float32 tensor in the half precision that it came from; any other as it is."""
    return tensor.astype(dtype) if tensor.dtype == np.float32 and dtype in HALF else tensor


def _check_way_back(release: Release, back: Mapping[str, np.ndarray]) -> None:
    """Refuses tensors that a float32 parameter cannot hold, such as float64."""
    differing = [
        f"{name} {tensor.dtype}"
        for name, tensor in release.tensors.items()
        if back[name].dtype != tensor.dtype or back[name].tobytes() != tensor.tobytes()
    ]
    if differing:
        raise WeightError(f"{release.source}: {len(differing)} tensors would not come back as they are: {', '.join(differing)}")


def _about(folder: pathlib.Path) -> dict[str, Any]:
    found = read_json(folder / ABOUT, CheckpointError)
    if not isinstance(found, dict) or not {"kind", "half", "unread"} <= found.keys():
        raise CheckpointError(f"{folder / ABOUT} lacks what it should say: kind, half, unread")
    return found
