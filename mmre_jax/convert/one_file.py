"""A run's whole model as one safetensors file, and such a file as a checkpoint.

Names are those of the Flax variables, joined by '/': the collection (`params`; `batch_stats`, the statistics of norms), the part of the
system (`text`, `vision`, `head`, and what its class in mmre_jax/systems names), modules, the parameter:

    params/text/embeddings/word                    [words, D]
    params/text/layer_0/attention/query/kernel     [in, out], as all dense kernels; convolutions' are [height, width, in, out]
    batch_stats/vision/stem_0/norm/mean            [C]

The file's metadata has strings alone, as the format wants it. `mmre_jax_model` is the version of this layout; every other is a JSON value
of the checkpoint's metadata: `config` (all settings), `labels` (in the order of the head's outputs), `none` (the empty label), `tokenizer`
(as of the tokenizers library), `plan` (what pictures are looked at), `format` (of the checkpoint), `step`, `versions`, and what else a
checkpoint holds; `calibration`, where its scores have one.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import numpy as np
import optax
import safetensors
import safetensors.numpy
from flax import traverse_util

from mmre_jax import storage
from mmre_jax.convert.files import free_file, free_folder, restored, whole
from mmre_jax.text_files import parse_json, shown
from mmre_jax.training import calibration
from mmre_jax.training import state as state_lib
from mmre_jax.training.checkpoint import FOLDER, Checkpoints
from mmre_jax.training.job import Job, restore_job, shapes
from mmre_jax.training.locate import locate
from mmre_jax.weights import hub
from mmre_jax.weights.hub import WeightError

VERSION_KEY, VERSION = "mmre_jax_model", 1

logger = logging.getLogger(__name__)


def save_model(checkpoint: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Writes a run's model, without its optimiser, as one safetensors file.

    Args:
      checkpoint: the workdir of a run, its folder of checkpoints, or a step in it.
      path: the file to make, *.safetensors; it must not exist. It is there whole or not at all.

    Raises:
      FileExistsError: a file that is there already.
      CheckpointError: a checkpoint that is damaged or not there.
      WeightError: a path that is not called *.safetensors.
    """
    path = free_file(path, "a model")
    directory, step = locate(checkpoint)
    _, variables = restored(directory, step)
    with Checkpoints(directory, read_only=True) as checkpoints:
        meta = checkpoints.meta(step)
    if (fitted := calibration.read(directory, step)) is not None:
        meta["calibration"] = fitted
    about = {name: json.dumps(value, ensure_ascii=False) for name, value in meta.items()}
    tensors = {name: np.ascontiguousarray(x).reshape(np.shape(x)) for name, x in traverse_util.flatten_dict(variables, sep="/").items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        safetensors.numpy.save_file(tensors, file, {VERSION_KEY: str(VERSION), **about})
    logger.info("%d tensors, %s numbers: %s", len(tensors), f"{sum(x.size for x in tensors.values()):,}", path)


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a file that `save_model` wrote. Raises WeightError for a *.safetensors that is damaged."""
    if storage.is_remote(path) or not os.path.isfile(path):
        return False
    try:
        return VERSION_KEY in _metadata(path)
    except WeightError:
        if os.fspath(path).endswith(".safetensors"):
            raise
        return False  # what torch.save wrote


def open_model(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> Job:
    """The inverse of `save_model`: writes TARGET/checkpoints/STEP, which everything takes that takes a run.

    Args:
      path: the file.
      target: the directory to make; it must not exist, or be empty. It is there whole or not at all.

    Returns:
      What was written, less its variables.

    Raises:
      FileExistsError: a target that is there already.
      CheckpointError: metadata that are damaged, or of a version that cannot be read.
      WeightError: a file that `save_model` did not write or that is damaged; tensors that are missing, surplus or of another shape.
    """
    target, about = free_folder(target), _metadata(path)
    if about.pop(VERSION_KEY, None) != str(VERSION):
        raise WeightError(f"{path}: its metadata do not say {VERSION_KEY}={VERSION}: it is none of launch.convert --to=safetensors")
    meta = {name: parse_json(value, f"{path}: its metadata: {name}", WeightError) for name, value in about.items()}
    if type(step := meta.get("step")) is not int or step < 0:
        raise WeightError(f"{path}: its metadata name no step, found {step!r}")
    fitted, job = meta.pop("calibration", None), restore_job(meta, path)
    found = hub.read_file(path, upcast=False)
    wanted = traverse_util.flatten_dict(shapes(job), sep="/")
    problems = [f"{name} is not there" for name in wanted if name not in found]
    problems += [f"{shown(name)} is none of the model's" for name in found if name not in wanted]
    for name in sorted(wanted.keys() & found.keys()):
        if (here := (found[name].shape, found[name].dtype)) != (there := (wanted[name].shape, wanted[name].dtype)):
            problems.append(f"{name} is {here[1]} {list(here[0])}, expected {there[1]} {list(there[0])}")
    if problems:
        raise WeightError(f"{path} does not hold the model of its metadata, {len(problems)} problems:\n  " + "\n  ".join(problems))
    variables: Any = traverse_util.unflatten_dict({name: found[name] for name in wanted}, sep="/")
    with whole(target) as folder:
        folder.mkdir(parents=True)
        state = state_lib.create(variables, job.config.optim.frozen, optax.identity())  # without an optimiser: no run is to go on from it
        with Checkpoints(folder / FOLDER) as checkpoints:
            checkpoints.save(step, state, meta)
        if fitted is not None:
            calibration.write(folder / FOLDER, step, fitted)
    logger.info("%d tensors: %s", len(found), target)
    return job


def _metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The strings in a safetensors file's header. Raises WeightError where it is missing or damaged."""
    file = storage.on_disk(path, "source")
    if not file.is_file():
        raise WeightError(f"{file} {'is a directory, not a file' if file.is_dir() else 'does not exist'}")
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            return dict(opened.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightError(f"{file} is not a readable safetensors file (damaged or cut short?): {shown(error)}") from error
