"""Probabilities of mentions against an enumeration of all paths, each read by seqeval, with holes in the chain and without."""

import itertools
from collections.abc import Sequence

import jax
import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from mmre_jax.heads.crf import Crf, forbid, illegal, viterbi
from mmre_jax.heads.marginals import kinds_of, mention_probabilities

BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
RELEASED = ("PAD", "O", "B-PER", "I-PER", "X")
RARE = ("B-PER", "O", "I-LOC", "I-PER")  # no B-LOC: it begins with I-LOC alone
L = 4
compiled = jax.jit(mention_probabilities, static_argnums=5)


def read(path: Sequence[int], tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first, last word) of what seqeval reads in the tags of words."""
    return get_entities([tags[i] if tags[i][:2] in ("B-", "I-") else "O" for i in path])


def expected(emissions: np.ndarray, mask: np.ndarray, words: np.ndarray, crf: Crf, tags: Sequence[str], path: np.ndarray) -> np.ndarray:
    """The definition: of all paths over the marked positions the share in whose reading each mention of `path` stands."""
    marked = np.flatnonzero(mask)
    spoken = [place for place, at in enumerate(marked) if words[at]]
    total, shares = 0.0, {mention: 0.0 for mention in read([path[marked[i]] for i in spoken], tags)}
    for tried in itertools.product(range(len(tags)), repeat=len(marked)):
        score = crf.start[tried[0]] + crf.end[tried[-1]] + sum(emissions[at, t] for at, t in zip(marked, tried, strict=True))
        weight = np.exp(np.float64(score + sum(crf.transitions[a, b] for a, b in itertools.pairwise(tried))))
        total += weight
        for mention in set(read([tried[i] for i in spoken], tags)) & shares.keys():
            shares[mention] += weight
    found = np.zeros(len(mask))
    for (_, _, last), share in shares.items():
        found[marked[spoken[last]]] = share / total
    return found


def chain(tags: Sequence[str], rng: np.random.Generator, constrain: bool) -> Crf:
    crf = Crf(*(rng.normal(size=shape).astype(np.float32) for shape in ((len(tags),) * 2, (len(tags),), (len(tags),))))
    return Crf(*map(np.asarray, forbid(crf, *illegal(tags)))) if constrain else crf


@pytest.mark.parametrize(("tags", "constrain"), [(BIO, False), (BIO, True), (RELEASED, False), (RARE, False)])
@pytest.mark.parametrize("holes", [False, True])
def test_equals_enumeration(tags: tuple[str, ...], constrain: bool, holes: bool) -> None:
    """Holes: positions outside of the chain, and such as are in the chain but no word, as further pieces are in the released code."""
    rng = np.random.default_rng(len(tags) + constrain)
    rows = 6
    crf = chain(tags, rng, constrain)
    emissions = rng.normal(size=(rows, L, len(tags))).astype(np.float32)
    emissions[..., [i for i, tag in enumerate(tags) if tag[:2] in ("B-", "I-")]] += 1  # so that there are mentions
    mask = rng.random((rows, L)) < 0.7 if holes else np.ones((rows, L), bool)
    words = mask & (rng.random((rows, L)) < 0.7) if holes else mask
    path = np.asarray(viterbi(emissions, mask, crf))
    other = rng.integers(0, len(tags), (rows, L)).astype(np.int32)  # any path may be asked about
    for asked in (path, other):
        found = np.asarray(compiled(emissions, asked, mask, words, crf, tags))
        assert found.dtype == np.float32 and np.isfinite(found).all()
        compared = [row for row in range(rows) if words[row].any()]
        for row in compared[:4]:
            wanted = expected(emissions[row], mask[row], words[row], crf, tags, asked[row])
            np.testing.assert_allclose(found[row], wanted, atol=2e-6)
        assert (found[compared] > 0).any()


def test_what_stands_outside_the_chain_is_not_read() -> None:
    rng = np.random.default_rng(3)
    crf, mask = chain(BIO, rng, True), np.array([[True, True, False, True]])
    emissions = 3 * rng.normal(size=(1, L, 5)).astype(np.float32)
    path = np.array([[1, 2, 0, 3]], np.int32)
    plain = compiled(emissions, path, mask, mask, crf, BIO)
    other = compiled(np.where(mask[..., None], emissions, np.nan), np.where(mask, path, 4), mask, mask | ~mask, crf, BIO)
    np.testing.assert_array_equal(plain, other)
    assert np.flatnonzero(plain[0]).tolist() == [1, 3]
    nothing = compiled(emissions, path, ~mask & mask, mask, crf, BIO)
    assert not np.asarray(nothing).any()


def test_long_chains_keep_their_digits() -> None:
    """A chain of independent words, whose mention is as probable as by hand, after a thousand words with large scores."""
    length = 1000
    emissions = np.tile(np.array([[30.0, 0.0, -30.0]], np.float32), (length, 1))[None].copy()
    emissions[0, -1] = [1.0, 1.5, -30.0]
    zero = Crf(np.zeros((3, 3), np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32))
    mask = np.ones((1, length), bool)
    path = np.asarray(viterbi(emissions, mask, zero))
    found = np.asarray(compiled(emissions, path, mask, mask, zero, ("O", "B-PER", "I-PER")))
    assert np.flatnonzero(found[0]).tolist() == [length - 1]
    assert found[0, -1] == pytest.approx(1 / (1 + np.exp(-0.5)), abs=1e-6)


def test_kinds_by_hand() -> None:
    kinds, inner = kinds_of(("PAD", "O", "B-PER", "I-LOC", "I-PER", "X"))
    assert kinds.tolist() == [-1, -1, 0, 1, 0, -1] and inner.tolist() == [False, False, False, True, True, False]
