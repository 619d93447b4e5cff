"""A linear-chain conditional random field over tags: log-likelihood and best path, in log space and fp32.

Lafferty, McCallum and Pereira, Conditional Random Fields (ICML 2001). The score of a path t over the positions p_1 < ... < p_n that a
mask marks is start[t_1] + sum_i emission[p_i, t_i] + sum_i transition[t_i, t_i+1] + end[t_n]. Positions outside the mask are skipped
wherever they stand: they neither emit nor break the chain, which goes on from the last marked position to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PENALTY = -1e4  # finite, so that a row of penalties still has gradients; far below any score a trained model gives


class Crf(NamedTuple):
    """Scores of the chain: transitions float [K, K] (i -> j), start float [K], end float [K]."""

    transitions: jax.Array
    start: jax.Array
    end: jax.Array


def log_likelihood(emissions: jax.Array, tags: jax.Array, mask: jax.Array, crf: Crf) -> jax.Array:
    """log p(tags | emissions) of each row.

    Args:
      emissions: float [B, L, K]; not read outside the mask.
      tags: int [B, L], in [0, K) within the mask; not read outside.
      mask: bool [B, L], the positions of the chain, with holes anywhere.

    Returns:
      float32 [B], nats; 0 for a row without any position.
    """
    crf = Crf(*(scores.astype(jnp.float32) for scores in crf))
    emissions = jnp.where(mask[..., None], emissions.astype(jnp.float32), 0.0)
    difference = _path_score(emissions, jnp.where(mask, tags, 0), mask, crf) - _log_partition(emissions, mask, crf)
    return jnp.where(mask.any(axis=1), difference, 0.0)


def _path_score(emissions: jax.Array, tags: jax.Array, mask: jax.Array, crf: Crf) -> jax.Array:
    """The score of a path, [B]; emissions and tags are 0 outside the mask."""
    last = jax.lax.cummax(jnp.where(mask, jnp.arange(mask.shape[1])[None], -1), axis=1)  # the chain's newest position, -1 before its first
    before = jnp.pad(last[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    previous = jnp.take_along_axis(tags, jnp.maximum(before, 0), axis=1)
    entered = jnp.where(before < 0, crf.start[tags], crf.transitions[previous, tags])
    emitted = jnp.take_along_axis(emissions, tags[..., None], axis=2)[..., 0]
    final = jnp.take_along_axis(tags, jnp.maximum(last[:, -1:], 0), axis=1)[:, 0]
    return jnp.where(mask, entered + emitted, 0.0).sum(axis=1) + crf.end[final]


def _log_partition(emissions: jax.Array, mask: jax.Array, crf: Crf) -> jax.Array:
    """log sum of exp(score) over all paths, [B]: the forward algorithm."""

    def step(carry: tuple[jax.Array, jax.Array], at: tuple[jax.Array, jax.Array]) -> tuple[tuple[jax.Array, jax.Array], None]:
        forward, begun = carry  # [B, K] log sum over paths up to here by their last tag, [B] whether there is any
        emission, marked = at
        continued = jax.nn.logsumexp(forward[:, :, None] + crf.transitions[None], axis=1)
        entered = jnp.where(begun[:, None], continued, crf.start[None]) + emission
        return (jnp.where(marked[:, None], entered, forward), begun | marked), None

    initial = jnp.zeros_like(emissions[:, 0]), jnp.zeros_like(mask[:, 0])
    (forward, _), _ = jax.lax.scan(step, initial, (emissions.swapaxes(0, 1), mask.swapaxes(0, 1)))
    return jax.nn.logsumexp(forward + crf.end[None], axis=1)


def viterbi(emissions: jax.Array, mask: jax.Array, crf: Crf) -> jax.Array:
    """The path of the highest score.

    Args:
      emissions: float [B, L, K]; not read outside the mask.
      mask: bool [B, L], the positions of the chain, with holes anywhere.

    Returns:
      int32 [B, L], the tags; 0 outside the mask.
    """
    crf = Crf(*(scores.astype(jnp.float32) for scores in crf))
    emissions = jnp.where(mask[..., None], emissions.astype(jnp.float32), 0.0)
    stay = jnp.arange(emissions.shape[2], dtype=jnp.int32)[None]

    def forwards(carry: tuple[jax.Array, jax.Array], at: tuple[jax.Array, jax.Array]) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        best, begun = carry  # [B, K] score of the best path up to here by its last tag, [B] whether there is any
        emission, marked = at
        scores = best[:, :, None] + crf.transitions[None]
        entered = jnp.where(begun[:, None], scores.max(axis=1), crf.start[None]) + emission
        came_from = jnp.where((begun & marked)[:, None], scores.argmax(axis=1).astype(jnp.int32), stay)
        return (jnp.where(marked[:, None], entered, best), begun | marked), came_from

    def backwards(tag: jax.Array, came_from: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.take_along_axis(came_from, tag[:, None], axis=1)[:, 0], tag

    initial = jnp.zeros_like(emissions[:, 0]), jnp.zeros_like(mask[:, 0])
    (best, _), came_from = jax.lax.scan(forwards, initial, (emissions.swapaxes(0, 1), mask.swapaxes(0, 1)))
    final = (best + crf.end[None]).argmax(axis=1).astype(jnp.int32)
    _, path = jax.lax.scan(backwards, final, came_from, reverse=True)
    return jnp.where(mask, path.swapaxes(0, 1), 0)


def illegal(tags: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What BIO tagging forbids: I-X anywhere but after B-X or I-X.

    Args:
      tags: the K tags in the order of the emissions: "O", "B-X" and "I-X".

    Returns:
      transitions bool [K, K] (i -> j), start bool [K].

    Raises:
      ValueError: for a tag of another form, for which the rule says nothing.
    """
    if strange := [tag for tag in tags if tag != "O" and not tag.startswith(("B-", "I-"))]:
        raise ValueError(f"only tags O, B-... and I-... can be constrained, found {', '.join(strange)}")
    start = np.array([tag.startswith("I-") for tag in tags])
    same = np.array([[before != "O" and before[2:] == tag[2:] for tag in tags] for before in tags])
    return start[None] & ~same, start


def forbid(crf: Crf, transitions: np.ndarray, start: np.ndarray) -> Crf:
    """The chain with a large negative score on forbidden transitions (bool [K, K]) and starts (bool [K])."""
    penalties = (np.where(forbidden, np.float32(PENALTY), np.float32(0)) for forbidden in (transitions, start))
    transitions, start = (scores.astype(jnp.float32) + penalty for scores, penalty in zip(crf[:2], penalties, strict=True))
    return Crf(transitions, start, crf.end)
