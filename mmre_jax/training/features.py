"""data.features=cache: what an encoder that is not trained makes of pictures, or of words, is computed once, and read where it would be
computed.

Features are those that a step without them computes, but for rounding: XLA may add in another order in another program, or where a batch
has another size. What is kept where, and by what it is known again, is in feature_maker.py and text_maker.py.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax.data.feature_store import STATES
from mmre_jax.data.loader import Batch
from mmre_jax.data.split import Split
from mmre_jax.declare import SettingError
from mmre_jax.systems.system import ModuleSystem, System
from mmre_jax.training import processes
from mmre_jax.training.feature_maker import Maker, blank, fields, places
from mmre_jax.training.job import Job
from mmre_jax.training.text_maker import TextMaker

PICTURES, WORDS = "pictures", "words"
logger = logging.getLogger(__name__)


def asked_for(data: ConfigDict) -> bool:
    """Whether section `data` of a configuration wants features to be kept."""
    return bool(data.features == "cache")


def check(config: ConfigDict, system: System, data: ConfigDict | None = None) -> None:
    """Refuses to keep features where there are none that can be.

    Args:
      data: as of `with_features`.

    Raises:
      SettingError: naming the settings.
    """
    if not asked_for(config.data if data is None else data) or not system.plan or kept(config, system):
        return
    lacking = reasons(config, system)
    raise SettingError("; ".join(lacking[what] for what in frozen(config) or (PICTURES,)))


def frozen(config: ConfigDict) -> tuple[str, ...]:
    """PICTURES and WORDS, whose encoder is not to be trained."""
    return tuple(what for part, what in (("vision", PICTURES), ("text", WORDS)) if part in config.optim.frozen)


def kept(config: ConfigDict, system: System) -> tuple[str, ...]:
    """Of what features are kept, if they are asked for: of PICTURES and WORDS those without a reason against it."""
    lacking = reasons(config, system)
    return tuple(what for what in (PICTURES, WORDS) if what not in lacking)


def reasons(config: ConfigDict, system: System) -> dict[str, str]:
    """{PICTURES or WORDS: why what the encoder makes of them cannot be kept}."""
    sight, reading = (system.sight, system.reading) if isinstance(system, ModuleSystem) else (None, None)
    name, found = config.system.name, {}
    if sight is None:
        found[PICTURES] = (
            f"data.features=cache: what the image encoder of system {name!r} computes is no function of pictures alone, or larger than "
            "they are: set data.features=none"
        )
    elif sight.part not in config.optim.frozen:
        found[PICTURES] = (
            f"data.features=cache keeps what an encoder makes of pictures that is not trained: name {sight.part} in optim.frozen"
        )
    elif config.vision.kind == "vit" and config.vision.dropout:
        found[PICTURES] = f"data.features=cache: vision.dropout={config.vision.dropout} makes features others each time: set it to 0"
    if reading is None:
        found[WORDS] = f"data.features=cache: what the text encoder of system {name!r} computes is no function of the words alone"
    elif reading.part not in config.optim.frozen:
        found[WORDS] = f"data.features=cache keeps what an encoder makes of words that is not trained: name {reading.part} in optim.frozen"
    elif dropped := [name for name in ("dropout", "attention_dropout") if config.text[name]]:
        said = ", ".join(f"text.{name}={config.text[name]}" for name in dropped)
        found[WORDS] = f"data.features=cache: {said} makes the text's states others each time: set it to 0"
    return found


def with_features(job: Job, splits: Mapping[str, Split], variables: Mapping[str, Any], data: ConfigDict | None = None) -> dict[str, Split]:
    """The splits with the features of their pictures and texts, where the configuration asks for them; what no run has computed yet is
    computed. The log says why those of an encoder that is not trained are not kept.

    To be called by all processes of a run: the first computes, and each other one that does not see its folder for itself.

    Args:
      variables: on the host or the devices, whole or in parts.
      data: section of a configuration that says where the records come from and whether features are kept; the job's own if None.

    Raises:
      SettingError: as `check`.
      FeatureError: for a damaged folder, or a disk with too little room.
      OSError: where the folder cannot be written to.
    """
    system, data = job.system, job.config.data if data is None else data
    if not asked_for(data):
        return dict(splits)
    check(job.config, system, data)
    what, lacking = kept(job.config, system), reasons(job.config, system)
    for of in frozen(job.config):
        if of in lacking:
            logger.info("features of %s are not kept: %s", of, lacking[of])
    found = dict(splits)
    if PICTURES in what:
        found = _with_pictures(job, found, variables, data)
    return _with_words(job, found, variables, data) if WORDS in what else found


def _with_pictures(job: Job, splits: dict[str, Split], variables: Mapping[str, Any], data: ConfigDict) -> dict[str, Split]:
    system = job.system
    assert isinstance(system, ModuleSystem) and system.sight is not None, "as checked"
    maker = Maker.of(job, system, _of_part(variables, system.sight.part), data)
    keys = {name: maker.keys(split, data) for name, split in splits.items() if len(split.records)}
    processes.decided(lambda: maker.tell(keys))
    processes.decided(lambda: maker.fill(splits, keys))
    processes.together(lambda: maker.fill(splits, keys))
    index = maker.store.index()
    return {name: maker.read(split, keys[name], index) if name in keys else split for name, split in splits.items()}


def _with_words(job: Job, splits: dict[str, Split], variables: Mapping[str, Any], data: ConfigDict) -> dict[str, Split]:
    system = job.system
    assert isinstance(system, ModuleSystem) and system.reading is not None, "as checked"
    maker = TextMaker.of(job, system, _of_part(variables, system.reading.part), data)
    keys = {name: maker.keys(split) for name, split in splits.items() if len(split.records)}
    processes.decided(lambda: maker.tell(splits, keys))
    processes.decided(lambda: maker.fill(splits, keys))
    processes.together(lambda: maker.fill(splits, keys))
    index = maker.store.index()
    states = {name: maker.stored(found, index) for name, found in keys.items()}
    return {name: dataclasses.replace(split, states=states[name]) if name in states else split for name, split in splits.items()}


def _of_part(variables: Mapping[str, Any], part: str) -> dict[str, Any]:
    """A part's variables, whole and on the host."""
    own = {name: {part: tree[part]} for name, tree in variables.items() if part in tree}
    return jax.tree.map(lambda x: processes.whole(x) if isinstance(x, jax.Array) else np.asarray(x), own)


def as_kept(job: Job, batch: Batch) -> Batch:
    """A batch with features, all 0, in place of what they are kept of: of it only shapes and dtypes matter."""
    what, system = kept(job.config, job.system) if asked_for(job.config.data) else (), job.system
    found = in_place(system, batch) if PICTURES in what else batch
    if WORDS not in what:
        return found
    assert isinstance(system, ModuleSystem), "as checked"
    variables = jax.eval_shape(system.init, jax.random.key(0), batch)
    states = jax.eval_shape(system.states, variables, batch["text"])
    return {**found, "text": {**batch["text"], STATES: np.zeros(states.shape, states.dtype)}}


def in_place(system: System, batch: Batch) -> Batch:
    """A batch with features, all 0, in place of its pictures: of it only shapes and dtypes matter."""
    assert isinstance(system, ModuleSystem) and system.sight is not None, "as checked"
    variables = jax.eval_shape(system.init, jax.random.key(0), batch)
    found = jax.eval_shape(system.features, variables, blank(system, 1))
    leading = (len(batch["index"]), *((places(system.plan),) if system.sight.apart else ()))
    features = {name: np.zeros((*leading, *shape), found[name].dtype) for name, (_, shape) in fields(system, found).items()}
    return {**{name: x for name, x in batch.items() if name != "pictures"}, "features": features}
