"""What the authors' releases consist of: a state dict, under the names that its trainer's wrappers left, and the labels by their ids."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmre_jax.data.torch_pickle import is_lfs_pointer, lfs_message
from mmre_jax.tasks.entities import SPECIAL_TAGS
from mmre_jax.text_files import read_json, read_text, shown
from mmre_jax.weights import hub, released
from mmre_jax.weights.hub import WeightError

PAD = SPECIAL_TAGS[0]
WRAPPERS = ("module", "_orig_mod")  # the part of a name that DataParallel adds, and torch.compile

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Release:
    """A state dict of the authors, as it was found.

    kind: one of released.KINDS.
    tensors: by the authors' names.
    source: the file.
    names: {the authors' name: the one in the file}, which wrappers of their model may have changed.
    """

    kind: str
    tensors: Mapping[str, np.ndarray]
    source: str
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)


def open_release(path: str | os.PathLike[str], kind: str = "") -> Release:
    """Reads a state dict: safetensors, or what `torch.save` wrote, which takes PyTorch and runs no pickled code (`hub.read_file`).

    Tensors keep their dtypes: half precision becomes float32 in the checkpoint, and again what it was on the way back. Names lose the
    parts that wrappers added to them.

    Args:
      kind: one of released.KINDS; '' to tell it from the tensors' names.

    Raises:
      WeightError: a file that is missing, damaged or no state dict; tensors that are those of no kind.
    """
    found = hub.read_file(path, upcast=False)
    names: dict[str, str] = {}
    for name in found:
        own = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if own in names:
            raise WeightError(f"{path}: {shown(names[own])} and {shown(name)} are one tensor, {shown(own)}, but for a wrapper's name")
        names[own] = name
    tensors = {own: found[name] for own, name in names.items()}
    if wrapped := sum(own != name for own, name in names.items()):
        parts = [part for part in WRAPPERS if any(part in name.split(".") for name in names.values())]
        logger.info("%s: %d of %d names are taken without %r", path, wrapped, len(names), " and ".join(f"{part}." for part in parts))
    try:
        recognised = kind or released.recognise(tensors)
    except WeightError as error:
        raise WeightError(f"{path}: {error}") from error
    alone = " without an image encoder" if released.is_text_only(recognised, tensors) else ""
    logger.info("%s: %d tensors, %s %s%s", path, len(tensors), "taken for" if kind else "recognised as", recognised, alone)
    return Release(recognised, tensors, os.fspath(path), names)


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Labels in the order of their ids: a JSON object {label: id} or list of labels (*.json), or a text file of one label a line.

    Ids start at 0, or at 1 where, as in the released code for entities, 0 is PAD and not listed.

    Raises:
      WeightError: a file in none of these formats, a label that is there twice, ids with gaps.
      OSError: a file that cannot be read.
    """
    if is_lfs_pointer(path):
        raise WeightError(lfs_message(path))
    found: Any = [line.strip() for line in read_text(path, WeightError).splitlines() if line.strip()]
    if pathlib.Path(path).suffix == ".json":
        found = read_json(path, WeightError)
    if isinstance(found, dict):
        found = _by_id(path, found)
    if not isinstance(found, list) or not found or not all(isinstance(label, str) for label in found):
        raise WeightError(f"{path}: labels are names, such as {{'None': 0}} or ['None'] or one a line, found {str(found):.80}")
    if twice := sorted({label for label in found if found.count(label) > 1}):
        raise WeightError(f"{path} has {', '.join(twice)} more than once")
    return tuple(found)


def _by_id(path: str | os.PathLike[str], ids: Mapping[str, Any]) -> list[str]:
    if not all(type(number) is int for number in ids.values()):
        raise WeightError(f"{path}: labels have whole numbers as ids, found {str(dict(ids)):.80}")
    first = 1 if ids and min(ids.values()) == 1 else 0
    if sorted(ids.values()) != list(range(first, first + len(ids))):
        raise WeightError(f"{path}: ids are 0, 1, 2 and so on, without gaps, found {sorted(ids.values())}")
    ordered = sorted(ids, key=lambda label: ids[label])
    return [PAD, *ordered] if first else ordered
