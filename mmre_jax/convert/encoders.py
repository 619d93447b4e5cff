"""The encoders of a run, tuned or not, as directories of transformers."""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmre_jax.convert.files import free_folder, restored, whole
from mmre_jax.encoders.rcnn.faster_rcnn import RcnnConfig
from mmre_jax.training.job import Job
from mmre_jax.training.locate import locate
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.text_directory import added_names, write_text_directory
from mmre_jax.weights.vision_directory import VisionConfig, write_vision_directory

logger = logging.getLogger(__name__)


def save_encoders(checkpoint: str | os.PathLike[str], target: str | os.PathLike[str]) -> dict[str, str]:
    """Writes TARGET/text, the text encoder with its tokenizer, and TARGET/vision, the image encoder with its image processor, as
    directories that transformers' Auto classes open (weights/text_directory.py, weights/vision_directory.py).

    The word table is as the run reads it: what DGF-PT trains beside the rows of added tokens is in them.

    Args:
      checkpoint: the workdir of a run, its folder of checkpoints, or a step in it.
      target: the directory to make; it must not exist, or be empty. It is there whole or not at all.

    Returns:
      {"text" or "vision": why it is not written} of those that are not, since the system has none or transformers has no such. The log
      says it, too.

    Raises:
      FileExistsError: a target that is there already.
      CheckpointError: a checkpoint that is damaged or not there.
      WeightError: where none can be written; it says why.
    """
    target = free_folder(target)
    job, variables = restored(*locate(checkpoint))
    parts: dict[str, Callable[[pathlib.Path], str]] = {
        "text": lambda folder: _write_text(folder, job, variables),
        "vision": lambda folder: _write_vision(folder, job, variables),
    }
    left: dict[str, str] = {}
    with whole(target) as folder:
        folder.mkdir(parents=True)
        for name, write in parts.items():
            (folder / name).mkdir()
            try:
                logger.info("%s: %s", target / name, write(folder / name))
            except WeightError as error:
                left[name] = str(error)
                (folder / name).rmdir()
        if len(left) == len(parts):
            raise WeightError(
                f"{checkpoint} has no encoder that transformers could open: " + "; ".join(f"{k}: {v}" for k, v in left.items())
            )
        for name, reason in left.items():
            logger.warning("%s is not written: %s", name, reason)
    return left


def _write_text(folder: pathlib.Path, job: Job, variables: Mapping[str, Any]) -> str:
    """Writes the text encoder, and says what it is."""
    sizes, encoder = getattr(job.system.net.config, "text", None), job.task.encoder
    if sizes is None or "text" not in variables["params"]:
        raise WeightError(f"the system has no text encoder by itself: its parts are {', '.join(variables['params'])}")
    write_text_directory(folder, sizes, _as_read(variables["params"]["text"], variables["params"].get("added")), encoder)
    named = f"; added behind its vocabulary: {' '.join(added_names(encoder))}" if encoder.added else ""
    return f"{sizes.kind}, {sizes.layers} layers, and a tokenizer of {encoder.vocab_size} entries{named}"


def _as_read(params: Mapping[str, Any], added: np.ndarray | None) -> Mapping[str, Any]:
    """The parameters of a text encoder, with what is added to the last rows of its word table, [n, D], in them."""
    if added is None:
        return params
    if "embeddings" in params:
        return {**params, "embeddings": _as_read(params["embeddings"], added)}
    words = np.array(params["word"])
    words[len(words) - len(added) :] += np.asarray(added)
    return {**params, "word": words}


def _write_vision(folder: pathlib.Path, job: Job, variables: Mapping[str, Any]) -> str:
    """Writes the image encoder, and says what it is."""
    sizes: Any = job.system.net.config
    config: VisionConfig | None = sizes.backbone if isinstance(sizes, RcnnConfig) else getattr(sizes, "vision", None)
    part = "backbone" if isinstance(sizes, RcnnConfig) else "vision"
    if config is None:
        raise WeightError(f"the system has no image encoder: its parts are {', '.join(variables['params'])}")
    own = {name: tree[part] for name, tree in variables.items() if part in tree}
    notes = write_vision_directory(folder, config, own, job.system.plan[0])
    return "; ".join([f"{type(config).__name__.removesuffix('Config')} with an image processor", *notes])
