"""One published system a file; each reads top to bottom as its paper's method section."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.declare import Section, choice, require
from mmre_jax.systems import adapted, bilstm_crf, dgf_pt, faster_rcnn, hvformer, ifaformer, pcnn, qeot, released, rsrnet, visualbert
from mmre_jax.systems.released import mkgformer, prefixes
from mmre_jax.systems.system import System

BUILDERS = {
    "adapted": adapted.build,
    "bilstm_crf": bilstm_crf.build,
    "dgf_pt": dgf_pt.build,
    "faster_rcnn": faster_rcnn.build,
    "hvformer": hvformer.build,
    "ifaformer": ifaformer.build,
    "mkgformer": mkgformer.build,
    "pcnn": pcnn.build,
    "qeot": qeot.build,
    "rsrnet": rsrnet.build,
    "visualbert": visualbert.build,
}
SETTINGS: dict[str, Section] = {  # of section `system`, beside the name
    "adapted": adapted.SETTINGS,
    "bilstm_crf": bilstm_crf.SETTINGS,
    "dgf_pt": dgf_pt.SETTINGS,
    "faster_rcnn": faster_rcnn.SETTINGS,
    "hvformer": hvformer.SETTINGS,
    "ifaformer": ifaformer.SETTINGS,
    "mkgformer": mkgformer.SETTINGS,
    "pcnn": pcnn.SETTINGS,
    "qeot": qeot.SETTINGS,
    "rsrnet": {**rsrnet.SETTINGS, **prefixes.SETTINGS},
    "visualbert": visualbert.SETTINGS,
}
TASKS: dict[str, tuple[str, ...]] = {  # of each system of the library
    "adapted": ("triples",),
    "bilstm_crf": ("entities",),
    "dgf_pt": ("relation",),
    "faster_rcnn": ("objects",),
    "hvformer": ("relation",),
    "ifaformer": ("relation", "entities"),
    "mkgformer": ("relation",),
    "pcnn": ("relation",),
    "qeot": ("triples",),
    "rsrnet": ("relation", "entities"),
    "visualbert": ("relation", "entities"),
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def declared(name: str) -> Section:
    """The declaration of section `system` for a system's name; of one that declares no settings, the name alone."""
    return {"name": choice(name, BUILDERS, "of the file in mmre_jax/systems"), **SETTINGS.get(name, {})}


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str]) -> System:
    """The system that a resolved configuration names.

    Args:
      vocab_size: rows of the word table.
      labels: classes of the task.

    Raises:
      ValueError: for an unknown system, listing the known ones, and for settings that contradict each other.
    """
    if config.system.name not in BUILDERS:
        raise ValueError(f"system.name={config.system.name!r} is not one of {', '.join(BUILDERS)}")
    if config.system.name in SETTINGS:
        require("system", config.system, declared(config.system.name))
    builders = {**BUILDERS, **released.BUILDERS} if released.is_asked_for(config) else BUILDERS
    return builders[config.system.name](config, vocab_size=vocab_size, labels=labels, dtype=DTYPES[config.train.dtype])
