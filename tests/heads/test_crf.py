"""The chain against an enumeration of all paths and against pytorch-crf, with holes in the mask and without."""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchcrf

from mmre_jax.heads.crf import Crf, forbid, illegal, log_likelihood, viterbi

L, K = 5, 3
MASKS = np.array(list(itertools.product((False, True), repeat=L)))  # every mask there is, the empty one first
B = len(MASKS)
random = np.random.default_rng(0)
EMISSIONS = random.normal(size=(B, L, K)).astype(np.float32)
TAGS = random.integers(0, K, (B, L)).astype(np.int32)
CRF = Crf(*(random.normal(size=shape).astype(np.float32) for shape in ((K, K), (K,), (K,))))


def score(path: tuple[int, ...], emissions: np.ndarray, crf: Crf) -> float:
    """The score of a path over emissions [n, K], as the definition has it."""
    steps = sum(float(crf.transitions[i, j]) for i, j in itertools.pairwise(path))
    return float(crf.start[path[0]]) + sum(float(row[t]) for row, t in zip(emissions, path, strict=True)) + steps + float(crf.end[path[-1]])


def paths(row: int, crf: Crf = CRF) -> dict[tuple[int, ...], float]:
    """All paths over a row's marked positions and their scores."""
    marked = EMISSIONS[row, MASKS[row]]
    return {path: score(path, marked, crf) for path in itertools.product(range(K), repeat=len(marked))}


def rows() -> Iterator[int]:
    return iter(range(1, B))


def test_log_likelihood_equals_enumeration() -> None:
    found = np.asarray(log_likelihood(EMISSIONS, TAGS, MASKS, CRF))
    assert found.dtype == np.float32 and found.shape == (B,)
    for row in rows():
        scores = paths(row)
        assert found[row] == pytest.approx(scores[tuple(TAGS[row, MASKS[row]])] - np.logaddexp.reduce(list(scores.values())), abs=1e-4)


def test_probabilities_of_all_paths_sum_to_one() -> None:
    mask = np.array([[True, False, True, True, False]])
    every = np.array([(a, 0, b, c, 0) for a, b, c in itertools.product(range(K), repeat=3)], np.int32)
    copies = (np.repeat(x, len(every), axis=0) for x in (EMISSIONS[:1], mask))
    emissions, masks = copies
    assert jnp.exp(log_likelihood(emissions, every, masks, CRF)).sum() == pytest.approx(1, abs=1e-5)


def test_best_path_equals_enumeration() -> None:
    found = np.asarray(viterbi(EMISSIONS, MASKS, CRF))
    assert found.dtype == np.int32 and found.shape == (B, L)
    assert not found[~MASKS].any()
    for row in rows():
        scores = paths(row)
        assert tuple(found[row, MASKS[row]]) == max(scores, key=scores.__getitem__)


def test_a_row_without_positions_costs_nothing() -> None:
    def loss(emissions: jax.Array, crf: Crf) -> jax.Array:
        return log_likelihood(emissions, TAGS[:1], MASKS[:1], crf).sum()

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(EMISSIONS[:1], CRF)
    assert not MASKS[0].any() and value == 0
    assert not any(np.asarray(gradient).any() for gradient in jax.tree.leaves(gradients))  # a NaN would count as any


def test_skipped_positions_are_not_read() -> None:
    def loss(emissions: jax.Array, tags: np.ndarray) -> jax.Array:
        return log_likelihood(emissions, tags, MASKS, CRF).sum()

    other = np.where(MASKS[..., None], EMISSIONS, np.nan), np.where(MASKS, TAGS, 999)
    value, gradient = jax.value_and_grad(loss)(EMISSIONS, TAGS)
    value_too, gradient_too = jax.value_and_grad(loss)(*other)
    assert value == value_too
    np.testing.assert_array_equal(gradient, gradient_too)
    assert not np.asarray(gradient)[~MASKS].any()
    np.testing.assert_array_equal(viterbi(other[0], MASKS, CRF), viterbi(EMISSIONS, MASKS, CRF))


def torch_crf(crf: Crf) -> torchcrf.CRF:
    module = torchcrf.CRF(len(crf.start), batch_first=True)
    with torch.no_grad():
        for name, values in (("transitions", crf.transitions), ("start_transitions", crf.start), ("end_transitions", crf.end)):
            getattr(module, name).copy_(torch.tensor(values))
    return module


def agree_with_torch(emissions: np.ndarray, tags: np.ndarray, mask: np.ndarray, crf: Crf) -> None:
    """Loss, gradients and best path equal those of pytorch-crf on the same rows with the holes taken out."""
    module = torch_crf(crf)
    order = np.argsort(~mask, axis=1, kind="stable")  # marked positions first
    packed = torch.tensor(np.take_along_axis(emissions, order[..., None], axis=1), requires_grad=True)
    packed_mask = torch.tensor(np.take_along_axis(mask, order, axis=1))
    theirs = module(packed, torch.tensor(np.take_along_axis(tags, order, axis=1)).long(), packed_mask, reduction="none")
    weights = np.linspace(0.5, 1.5, len(mask)).astype(np.float32)
    (theirs * torch.tensor(weights)).sum().backward()

    def loss(emissions: jax.Array, crf: Crf) -> jax.Array:
        return (log_likelihood(emissions, tags, mask, crf) * weights).sum()

    np.testing.assert_allclose(log_likelihood(emissions, tags, mask, crf), theirs.detach().numpy(), atol=1e-4)
    gradient, chain = jax.jit(jax.grad(loss, argnums=(0, 1)))(emissions, crf)
    np.testing.assert_allclose(np.take_along_axis(np.asarray(gradient), order[..., None], axis=1), packed.grad.numpy(), atol=1e-4)
    for ours, name in zip(chain, ("transitions", "start_transitions", "end_transitions"), strict=True):
        np.testing.assert_allclose(ours, getattr(module, name).grad.numpy(), atol=1e-4)
    best = np.asarray(viterbi(emissions, mask, crf))
    assert [row[marked].tolist() for row, marked in zip(best, mask, strict=True)] == module.decode(packed.detach(), packed_mask)


@pytest.mark.parametrize("holes", [False, True])
def test_pytorch_crf_agrees(holes: bool) -> None:
    rng = np.random.default_rng(1)
    emissions = (3 * rng.normal(size=(6, 24, 9))).astype(np.float32)
    tags = rng.integers(0, 9, (6, 24)).astype(np.int32)
    mask = rng.random((6, 24)) < 0.5 if holes else np.arange(24)[None] < np.array([24, 1, 2, 13, 20, 24])[:, None]
    crf = Crf(*(rng.normal(size=shape).astype(np.float32) for shape in ((9, 9), (9,), (9,))))
    agree_with_torch(emissions, tags, mask, crf)


def test_bf16_emissions_are_computed_in_fp32() -> None:
    rounded = EMISSIONS.astype(jnp.bfloat16)
    found = log_likelihood(rounded, TAGS, MASKS, CRF)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, log_likelihood(rounded.astype(np.float32), TAGS, MASKS, CRF))


BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def test_illegal_by_hand() -> None:
    transitions, start = illegal(BIO)
    forbidden = {(BIO[i], BIO[j]) for i, j in np.argwhere(transitions)}
    assert forbidden == {
        *((before, "I-PER") for before in ("O", "B-LOC", "I-LOC")),
        *((before, "I-LOC") for before in ("O", "B-PER", "I-PER")),
    }
    assert [tag for tag, is_forbidden in zip(BIO, start, strict=True) if is_forbidden] == ["I-PER", "I-LOC"]


def test_illegal_knows_bio_alone() -> None:
    with pytest.raises(ValueError, match=r"found X, \[CLS\]"):
        illegal(("O", "B-PER", "X", "[CLS]"))


def test_a_constrained_chain_is_one_over_legal_paths() -> None:
    tags = ("O", "B-PER", "I-PER")
    transitions, start = illegal(tags)
    crf = forbid(CRF, transitions, start)
    assert np.isfinite(crf.transitions).all() and np.isfinite(crf.start).all()
    likelihood, best = map(np.asarray, (log_likelihood(EMISSIONS, np.ones((B, L), np.int32), MASKS, crf), viterbi(EMISSIONS, MASKS, crf)))
    for row in rows():
        legal = {p: s for p, s in paths(row).items() if not start[p[0]] and not any(transitions[i, j] for i, j in itertools.pairwise(p))}
        assert tuple(best[row, MASKS[row]]) == max(legal, key=legal.__getitem__)
        assert likelihood[row] == pytest.approx(legal[(1,) * MASKS[row].sum()] - np.logaddexp.reduce(list(legal.values())), abs=1e-4)


def test_emissions_cannot_buy_an_illegal_path() -> None:
    transitions, start = illegal(BIO)
    emissions = np.random.default_rng(2).normal(size=(64, 12, 5)).astype(np.float32)
    emissions[..., [2, 4]] += 50
    zero = Crf(np.zeros((5, 5), np.float32), np.zeros(5, np.float32), np.zeros(5, np.float32))
    best = np.asarray(viterbi(emissions, np.ones((64, 12), bool), forbid(zero, transitions, start)))
    assert not start[best[:, 0]].any() and not transitions[best[:, :-1], best[:, 1:]].any()
