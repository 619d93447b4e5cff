"""Bipartite matching of queries and targets (the Hungarian algorithm), on the host or on the device.

Shape letters: B batch, Q queries, T targets.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy  # its parts are loaded when they are used

# Elements of what is handed to the host at once. JAX hands a callback its arguments as arrays of the CPU device. Above 100 KiB they are
# still being copied, by the very threads that wait in callbacks where there are more (simulated) devices than cores: that would hang.
_PART = 2**14


def match(cost: jax.Array, valid: jax.Array, matcher: str = "scipy") -> jax.Array:
    """For every target a query of its own, such that the sum of the costs is least (QEOT eq. 7-8; DETR, Carion et al. 2020, eq. 1).

    As many targets are matched as can be: all valid ones if there are queries enough, else one for each query. Costs that are NaN or
    infinite count as worse than any finite ones: a pair with such a cost is made only where no complete assignment does without.
    There is no gradient. Right under jit, vmap, pmap and fully manual shard_map, where each device matches its own shard.

    Args:
      cost: float [..., Q, T], of pairing a query with a target; compared in float32.
      valid: bool [..., T]; False for padding, which is never matched and whose costs are never looked at.
      matcher: 'scipy', one host callback for the whole batch, or 'optax', on the device, in float32. Their assignments cost the same, up
        to rounding; among equally good ones they may choose differently.

    Returns:
      int32 [..., T]: the query of each target; -1 for an invalid target and for one left over (T > Q).

    Raises:
      ValueError: for an unknown matcher, or shapes that do not fit.
    """
    if matcher not in MATCHERS:
        raise ValueError(f"matcher is one of {', '.join(MATCHERS)}, found {matcher!r}")
    if cost.ndim < 2 or valid.shape != (*cost.shape[:-2], cost.shape[-1]):
        raise ValueError(f"cost is [..., Q, T] and valid [..., T], found {cost.shape} and {valid.shape}")
    if cost.size == 0:
        return jnp.full(valid.shape, -1, jnp.int32)
    return MATCHERS[matcher](_plain(jax.lax.stop_gradient(cost), valid), valid)


def _plain(cost: jax.Array, valid: jax.Array) -> jax.Array:
    """The costs [..., Q, T] as float32 with the same best assignments, but harmless: finite ones in [-1, 1], others large enough that one
    of them outweighs all finite ones of an assignment, and 0 for invalid targets."""
    cost, valid = cost.astype(jnp.float32), valid[..., None, :]
    finite = jnp.isfinite(cost) & valid
    cost = jnp.where(finite, cost, 0.0)
    # By a power of 2, so that the scaled costs are exact: sums of huge ones would overflow.
    _, exponent = jnp.frexp(jnp.abs(cost).max(axis=(-2, -1), keepdims=True))
    return jnp.where(finite | ~valid, jnp.ldexp(cost, -exponent), _worst(cost))


def _worst(cost: jax.Array) -> float:
    """More than any two assignments of finite costs in [-1, 1] can differ by, and the finite cost it stands in for."""
    return 2.0 * min(cost.shape[-2:]) + 2.0


@jax.custom_batching.custom_vmap
def _by_scipy(cost: jax.Array, valid: jax.Array) -> jax.Array:
    shape = jax.ShapeDtypeStruct(valid.shape, jnp.int32)
    return jax.pure_callback(functools.partial(_assign, cost.shape), shape, _parts(cost), _parts(valid))


@_by_scipy.def_vmap
def _by_scipy_vmapped(size: int, mapped: list[bool], cost: jax.Array, valid: jax.Array) -> tuple[jax.Array, bool]:
    """A mapped axis is one more leading axis: still one callback, and its parts stay small."""
    both = ((cost, mapped[0]), (valid, mapped[1]))
    return _by_scipy(*(x if has else jnp.broadcast_to(x[None], (size, *x.shape)) for x, has in both)), True


def _parts(x: jax.Array) -> tuple[jax.Array, ...]:
    flat = x.reshape(-1)
    return tuple(flat[at : at + _PART] for at in range(0, flat.size, _PART))


def _assign(shape: tuple[int, ...], cost: Sequence[np.ndarray], valid: Sequence[np.ndarray]) -> np.ndarray:
    """On the host, where nothing may raise (the other devices would wait for ever in their next collective) or touch JAX."""
    costs = np.concatenate([np.asarray(part) for part in cost]).reshape(shape)
    wanted = np.concatenate([np.asarray(part) for part in valid]).reshape(*shape[:-2], shape[-1])
    found = np.full(wanted.shape, -1, np.int32)
    for record in np.ndindex(wanted.shape[:-1]):
        targets = np.flatnonzero(wanted[record])
        query, target = scipy.optimize.linear_sum_assignment(costs[record][:, targets])
        found[record][targets[target]] = query
    return found


def _by_optax(cost: jax.Array, valid: jax.Array) -> jax.Array:
    queries, targets = cost.shape[-2:]
    if targets > queries:
        # Some targets stay without a query. A padded one must cost more than a valid one, or it might take the valid one's query.
        padding = jnp.where((cost > 1).any(axis=(-2, -1), keepdims=True), 2 * _worst(cost), 2.0)
        cost = jnp.where(valid[..., None, :], cost, padding)

    def one(cost: jax.Array) -> jax.Array:
        query, target = optax.assignment.hungarian_algorithm(cost)
        return jnp.full(targets, -1, jnp.int32).at[target].set(query.astype(jnp.int32))

    found = jax.vmap(one)(cost.reshape(-1, queries, targets)).reshape(valid.shape)
    return jnp.where(valid, found, -1)


MATCHERS = {"scipy": _by_scipy, "optax": _by_optax}
