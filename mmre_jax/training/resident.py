"""data.resident=device: a training split's pictures in the memory of every device, of which each step is given those of its batch.

Batches then bring rows, int32 [B, count] a slot, instead of pixels, which the devices gather in front of the step, by a program of its own:
the step is the one that batches with pixels have, to the last bit. Only pictures that are prepared as arrays can be put there; those of the
other splits stay on the host.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmre_jax.data.arrays import ABSENT
from mmre_jax.data.loader import Batch
from mmre_jax.data.prepared import kind_of
from mmre_jax.data.split import Split
from mmre_jax.declare import SettingError
from mmre_jax.training.job import Job
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.parallel import Devices

logger = logging.getLogger(__name__)


def resident(job: Job, split: Split, devices: Devices | MeshDevices) -> tuple[Split, Callable[[Batch], Batch]]:
    """The split whose batches bring rows, and what gives such a batch, on the devices, its pictures; without data.resident=device the split
    as it is, and what leaves a batch alone.

    Raises:
      SettingError: where the split's pictures are not prepared as arrays, or their features are read instead.
    """
    if job.config.data.resident == "host" or not job.system.plan:
        return split, lambda batch: batch
    if split.features is not None:
        raise SettingError("data.resident=device holds pictures, and data.features=cache reads features in their place: set one of them")
    if split.gather is None:
        raise SettingError(
            "data.resident=device takes pictures that launch.prepare stored as they are (--encoding=raw); those of "
            f"data.name={job.config.data.name!r}, data.root={job.config.data.root!r} are not"
        )
    table, arrays = split.gather.alone()
    logger.info("pictures on every device: %s", ", ".join(f"{x.nbytes / 1e9:,.2f} GB of {kind}" for kind, x in arrays.items()))
    there, kinds = devices.replicate(arrays), {slot.name: kind_of(slot) for slot in job.system.plan}

    def taken(rows: Mapping[str, jax.Array], arrays: Mapping[str, jax.Array]) -> dict[str, Any]:
        pixels = {name: jnp.take(arrays[kinds[name]], own, axis=0, mode="clip") for name, own in rows.items()}
        return {"pictures": pixels, "present": {name: own != ABSENT for name, own in rows.items()}}

    mapped = devices.map(taken, takes=("records", "same"), gives="records")

    def fill(batch: Batch) -> Batch:
        return {**{name: x for name, x in batch.items() if name != "rows"}, **mapped(batch["rows"], there)}

    return dataclasses.replace(split, resident=table), fill
