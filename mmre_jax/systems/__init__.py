"""One published system a file; each reads top to bottom as its paper's method section."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.systems import hvformer, ifaformer, qeot, rsrnet
from mmre_jax.systems.system import System

BUILDERS = {"hvformer": hvformer.build, "ifaformer": ifaformer.build, "qeot": qeot.build, "rsrnet": rsrnet.build}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str]) -> System:
    """The system that a resolved configuration names.

    Args:
      vocab_size: rows of the word table.
      labels: classes of the task.

    Raises:
      ValueError: for an unknown system or dtype, listing the known ones.
    """
    if config.system.name not in BUILDERS:
        raise ValueError(f"system.name is one of {', '.join(BUILDERS)}, found {config.system.name!r}")
    if config.train.dtype not in DTYPES:
        raise ValueError(f"train.dtype is one of {', '.join(DTYPES)}, found {config.train.dtype!r}")
    return BUILDERS[config.system.name](config, vocab_size=vocab_size, labels=labels, dtype=DTYPES[config.train.dtype])
