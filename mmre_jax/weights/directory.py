"""What a model directory says of its model, and whether it is the one that is to be filled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mmre_jax.weights import hub
from mmre_jax.weights.hub import WeightError

T = TypeVar("T")


def open_directory(directory: str | Path, config: T, fields: tuple[str, ...]) -> tuple[T, dict[str, np.ndarray]]:
    """The configuration of the model in a transformers directory, and its tensors.

    Args:
      config: of the model that is to be filled, of a class with `from_transformers`.
      fields: which of its fields, that no tensor's shape shows, must be the checkpoint's.

    Raises:
      WeightError: unreadable files, another kind of model, or another value of one of the fields.
    """
    found, tensors = hub.read_directory(directory)
    try:
        pretrained: T = type(config).from_transformers(found)  # type: ignore[attr-defined]
    except ValueError as error:
        raise WeightError(f"{directory}: {error}") from error
    check_same(directory, pretrained, config, fields)
    return pretrained, tensors


def check_same(directory: str | Path, pretrained: Any, config: Any, fields: tuple[str, ...]) -> None:
    """Raises WeightError where the two configurations differ in a field that no tensor's shape would show."""
    differing = [
        f"{name} is {getattr(pretrained, name)} in the checkpoint, {getattr(config, name)} in the model"
        for name in fields
        if getattr(pretrained, name) != getattr(config, name)
    ]
    if differing:
        raise WeightError(f"{directory} does not fit the model: {'; '.join(differing)}")
