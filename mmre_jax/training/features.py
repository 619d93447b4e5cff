"""data.features=cache: what an image encoder that is not trained makes of pictures is computed once, and read where pictures would be.

Features are those that a step without them computes, but for rounding: XLA may add in another order in another program, or where a batch
has another size. What is kept where, and by what it is known again, is in feature_maker.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax.data.loader import Batch
from mmre_jax.data.split import Split
from mmre_jax.declare import SettingError
from mmre_jax.systems.system import ModuleSystem, System
from mmre_jax.training import processes
from mmre_jax.training.feature_maker import Maker, blank, fields, places
from mmre_jax.training.job import Job


def asked_for(data: ConfigDict) -> bool:
    """Whether section `data` of a configuration wants features to be kept."""
    return bool(data.features == "cache")


def check(config: ConfigDict, system: System, data: ConfigDict | None = None) -> None:
    """Refuses to keep features that are not a function of the pictures alone.

    Args:
      data: as of `with_features`.

    Raises:
      SettingError: naming the settings.
    """
    if not asked_for(config.data if data is None else data) or not system.plan:
        return
    sight = system.sight if isinstance(system, ModuleSystem) else None
    if sight is None:
        raise SettingError(
            f"data.features=cache: what the image encoder of system {config.system.name!r} computes is no function of pictures alone, or "
            "larger than they are: set data.features=none"
        )
    if sight.part not in config.optim.frozen:
        raise SettingError(
            f"data.features=cache keeps what an encoder makes of pictures that is not trained: name {sight.part} in optim.frozen"
        )
    if config.vision.kind == "vit" and config.vision.dropout:
        raise SettingError(f"data.features=cache: vision.dropout={config.vision.dropout} makes features others each time: set it to 0")


def with_features(job: Job, splits: Mapping[str, Split], variables: Mapping[str, Any], data: ConfigDict | None = None) -> dict[str, Split]:
    """The splits with the features of their pictures, where the configuration asks for them; what no run has computed yet is computed.

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
    if not asked_for(data) or not system.plan:
        return dict(splits)
    check(job.config, system, data)
    assert isinstance(system, ModuleSystem) and system.sight is not None, "as checked"
    own = {name: {system.sight.part: tree[system.sight.part]} for name, tree in variables.items() if system.sight.part in tree}
    own = jax.tree.map(lambda x: processes.whole(x) if isinstance(x, jax.Array) else np.asarray(x), own)
    maker = Maker.of(job, system, own, data)
    keys = {name: maker.keys(split, data) for name, split in splits.items() if len(split.records)}
    processes.decided(lambda: maker.tell(keys))
    processes.decided(lambda: maker.fill(splits, keys))
    processes.together(lambda: maker.fill(splits, keys))
    index = maker.store.index()
    return {name: maker.read(split, keys[name], index) if name in keys else split for name, split in splits.items()}


def in_place(system: System, batch: Batch) -> Batch:
    """A batch with features, all 0, in place of the pictures: of it only shapes and dtypes matter."""
    assert isinstance(system, ModuleSystem) and system.sight is not None, "as checked"
    variables = jax.eval_shape(system.init, jax.random.key(0), batch)
    found = jax.eval_shape(system.features, variables, blank(system, 1))
    leading = (len(batch["index"]), *((places(system.plan),) if system.sight.apart else ()))
    features = {name: np.zeros((*leading, *shape), found[name].dtype) for name, (_, shape) in fields(system, found).items()}
    return {**{name: x for name, x in batch.items() if name != "pictures"}, "features": features}
