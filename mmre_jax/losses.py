"""Losses as sums over a shard, so that the shares of all shards add up to the loss of the global batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits)[label] in fp32 (HVFormer eq. 12).

    Args:
      logits: float [..., R].
      labels: int [...], in [0, R).

    Returns:
      float32 [...], nats.
    """
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    return -jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]


def global_sum(x: jax.Array, axis: str | None) -> jax.Array:
    """The sum of a local value over the mapped axis, if there is one."""
    return x if axis is None else jax.lax.psum(x, axis)


PMAP_AXIS, MESH_AXES = "batch", ("data", "fsdp")  # what the axes are called that devices are mapped over (training/parallel.py, mesh.py)


def device_axes() -> tuple[str, ...]:
    """Of PMAP_AXIS and MESH_AXES those that the code is mapped over that is being traced."""
    return tuple(name for name in (PMAP_AXIS, *MESH_AXES) if _is_mapped(name))


def _is_mapped(axis: str) -> bool:
    try:
        jax.lax.psum(1, axis)
    except NameError:  # as JAX has it
        return False
    return True


def key_of_device(key: jax.Array, axis: str | None) -> jax.Array:
    """A key for what is drawn differently on each device of the mapped axis, such as dropout, from one that is the same on all."""
    return key if axis is None else jax.random.fold_in(key, jax.lax.axis_index(axis))
