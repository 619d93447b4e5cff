"""What stands beside every number: task, data, protocol, precision and versions, and why to distrust it where one should."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import jax
from ml_collections import ConfigDict

from mmre_jax.data.datasets import shows_blank

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "transformers", "tokenizers", "numpy", "pillow")
LEAK_WARNING = (
    "protocol 'grounded': crops found with queries made from the annotation can tell it. Of MNRE's published ones the number alone tells "
    "None from a relation. Compare such scores with published tables only."
)
BLANK_WARNING = (
    "data.missing='blank': object crops that are listed and whose files are missing are shown as black pictures, and count as seen. Such "
    "scores show what the number of listed crops tells, and nothing that is in pictures."
)


def versions() -> dict[str, str]:
    """Versions of this library and of what it computes with."""
    return {name: importlib.metadata.version(name) for name in ("mmre_jax", *PACKAGES)}


def protocol(config: ConfigDict) -> dict[str, Any]:
    """What stands in every metrics file: task, data set, protocol of object crops, precision of products, what was done to the data, why to
    distrust it if so."""
    data, pictures = config.data, config.system.modalities != "text"
    found = {"task": config.task.name, "data": data.name, "objects": data.objects if pictures else "none"}
    given = jax.config.jax_default_matmul_precision if config.train.precision == "default" else None
    found["precision"] = given or config.train.precision
    usual = {"train_share": 1.0, "blank_words": False} | ({"image_share": 1.0, "shuffle_pictures": "none"} if pictures else {})
    found |= {name: data[name] for name, value in usual.items() if data[name] != value}
    warnings = [LEAK_WARNING] if found["objects"] == "grounded" and config.task.name == "relation" else []
    if found["objects"] != "none" and shows_blank(data):
        found["missing"] = "blank"
        warnings.append(BLANK_WARNING)
    return {**found, "warning": " ".join(warnings)} if warnings else found
