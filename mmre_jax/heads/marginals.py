"""How probable a mention is under a linear-chain CRF: by forward-backward over all paths of tags.

The paths are those of crf.py. A path is read as seqeval reads tags: a mention of type X begins at a word with tag B-X, or at one with I-X
where the word before has a tag of another type or none, and goes on over the words with I-X that follow. The probability of a mention is
that of all paths in whose reading it stands, with exactly this span and type: it begins there, goes on to its last word, and not beyond.
It is no product of single tags' marginals, which would leave out that tags depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmre_jax.heads.crf import Crf

NEVER = -jnp.inf
Messages = jax.Array  # log sums over paths by the tag at a position, float [M, B, K]: M sorts of paths side by side, all of them first


class Reading(NamedTuple):
    """What a path of tags says, by position; only what stands at words counts. The word before and behind may be positions away.

    kind: the type of the mention at a word, -1 for none.  goes_on: whether a word continues the mention of the word before.
    before: kind of the word before.  behind: kind of the next word.  ends: whether a mention's last word stands here. [B, L] each.
    """

    kind: jax.Array
    goes_on: jax.Array
    before: jax.Array
    behind: jax.Array
    ends: jax.Array


def kinds_of(tags: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Of each of K tags the number of its type, int32 [K], -1 for one that is neither B-X nor I-X; and whether it is I-X, bool [K]."""
    types = list(dict.fromkeys(tag[2:] for tag in tags if tag[:2] in ("B-", "I-")))
    kinds = [types.index(tag[2:]) if tag[:2] in ("B-", "I-") else -1 for tag in tags]
    return np.array(kinds, np.int32), np.array([tag.startswith("I-") for tag in tags])


def mention_probabilities(
    emissions: jax.Array, path: jax.Array, mask: jax.Array, words: jax.Array, crf: Crf, tags: Sequence[str]
) -> jax.Array:
    """The probability of each mention that a path says.

    Args:
      emissions: float [B, L, K]; not read outside the mask.
      path: int [B, L], tags such as the best path's; not read outside of words.
      mask: bool [B, L], the positions of the chain, with holes anywhere.
      words: bool [B, L], those positions of the chain whose tags are read, one a word.
      tags: names of the K tags.

    Returns:
      float32 [B, L]: at the position of a mention's last word its probability, 0 elsewhere.
    """
    crf = Crf(*(scores.astype(jnp.float32) for scores in crf))
    emissions = jnp.where(mask[..., None], emissions.astype(jnp.float32), 0.0)
    kinds, inner = kinds_of(tags)
    words = words & mask
    said = _read(path, words, kinds, inner)
    every, here = _forwards(emissions, mask, words, said, crf, kinds, inner).swapaxes(0, 1)
    rest, ended = _backwards(emissions, mask, words, said, crf, kinds, inner).swapaxes(0, 1)
    # Of each direction all were divided by the same sums, so that the quotient is what it is of the whole.
    share = jnp.exp(jax.nn.logsumexp(here + ended, axis=-1) - jax.nn.logsumexp(every + rest, axis=-1)).swapaxes(0, 1)
    return jnp.where(said.ends, jnp.minimum(share, 1.0), 0.0)


def _read(path: jax.Array, words: jax.Array, kinds: np.ndarray, inner: np.ndarray) -> Reading:
    length = path.shape[1]
    places = jnp.arange(length)[None]
    last = jax.lax.cummax(jnp.where(words, places, -1), axis=1)  # the newest word up to here, -1 before the first
    first = jax.lax.cummin(jnp.where(words, places, length), axis=1, reverse=True)  # the next word from here on, `length` behind the last
    before = jnp.pad(last[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    behind = jnp.pad(first[:, 1:], ((0, 0), (0, 1)), constant_values=length)

    def at(values: jax.Array, where: jax.Array, otherwise: int) -> jax.Array:
        found = jnp.take_along_axis(values, jnp.clip(where, 0, length - 1), axis=1)
        return jnp.where((where >= 0) & (where < length), found, jnp.asarray(otherwise, values.dtype))

    tags = jnp.where(words, path, 0)
    kind = jnp.where(words, jnp.asarray(kinds)[tags], -1)
    goes_on = words & jnp.asarray(inner)[tags] & (kind >= 0) & (at(kind, before, -1) == kind)
    ends = words & (kind >= 0) & ~at(goes_on, behind, False)
    return Reading(kind, goes_on, at(kind, before, -1), at(kind, behind, -1), ends)


def _of(kinds: np.ndarray, kind: jax.Array) -> jax.Array:
    """Which tags are of a type, bool [B, K], of types [B]; of -1 none."""
    return (jnp.asarray(kinds)[None] == kind[:, None]) & (kind >= 0)[:, None]


def _divided(messages: Messages) -> Messages:
    """All by the sum of the first sort, whose numbers then stay near 1 however long the chain is."""
    return messages - jax.nn.logsumexp(messages[:1], axis=-1, keepdims=True)


def _forwards(
    emissions: jax.Array, mask: jax.Array, words: jax.Array, said: Reading, crf: Crf, kinds: np.ndarray, inner: np.ndarray
) -> Messages:
    """Log sums over paths up to each position by the tag there, [L, 2, B, K]: over all; over those that say of the mention there what the
    path says, from its beginning on."""
    within = jnp.asarray(inner)[None]

    def step(carry: tuple[jax.Array, Messages], at: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, Messages], Messages]:
        begun, old = carry  # all; those whose newest word is not of the type that the next word's mention has; the mention's own
        emission, marked, word, kind, goes_on, behind = at
        continued = jax.nn.logsumexp(old[..., None] + crf.transitions[None, None], axis=2)
        every, apart, here = jnp.where(begun[None, :, None], continued, crf.start[None, None]) + emission[None]
        own, at_word = _of(kinds, kind), word[:, None]
        begins = jnp.where(own & ~within, every, jnp.where(own & within, apart, NEVER))
        here = jnp.where(at_word, jnp.where(goes_on[:, None], jnp.where(own & within, here, NEVER), begins), here)
        apart = jnp.where(at_word, jnp.where(_of(kinds, behind), NEVER, every), apart)
        new = jnp.where(marked[None, :, None], _divided(jnp.stack([every, apart, here])), old)
        return (begun | marked, new), new[::2]

    rows = (emissions, mask, words, said.kind, said.goes_on, said.behind)
    start = jnp.zeros_like(mask[:, 0]), jnp.zeros((3, *emissions[:, 0].shape), emissions.dtype)
    return jax.lax.scan(step, start, tuple(x.swapaxes(0, 1) for x in rows))[1]


def _backwards(
    emissions: jax.Array, mask: jax.Array, words: jax.Array, said: Reading, crf: Crf, kinds: np.ndarray, inner: np.ndarray
) -> Messages:
    """Log sums over what may follow each position by the tag there, [L, 2, B, K]: over all; over what does not go on with a mention of the
    type that the newest word has."""
    within = jnp.asarray(inner)[None]

    def step(old: Messages, at: tuple[jax.Array, ...]) -> tuple[Messages, Messages]:
        emission, marked, word, before = at
        rest, ended = old
        ended = jnp.where(word[:, None], jnp.where(_of(kinds, before) & within, NEVER, rest), ended)
        follows = (jnp.stack([rest, ended]) + emission[None])[:, :, None, :]
        left = jax.nn.logsumexp(follows + crf.transitions[None, None], axis=3)
        return jnp.where(marked[None, :, None], _divided(left), old), old

    end = jnp.broadcast_to(crf.end[None, None], (2, *emissions[:, 0].shape))
    rows = (emissions, mask, words, said.before)
    return jax.lax.scan(step, end, tuple(x.swapaxes(0, 1) for x in rows), reverse=True)[1]
