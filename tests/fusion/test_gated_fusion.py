"""The gate by hand, and its two ends."""

import jax
import numpy as np

from mmre_jax.fusion.gated_fusion import GatedFusion

B, N, D = 2, 3, 4
random = np.random.default_rng(0)
STATES, FOUND = (random.normal(size=(B, N, D)).astype(np.float32) for _ in range(2))
MODULE, ALL = GatedFusion(), np.ones(B, bool)
PARAMS = MODULE.init(jax.random.key(0), STATES, FOUND, ALL)["params"]


def test_equation_4_by_hand() -> None:
    a, b = PARAMS["own"]["kernel"], PARAMS["attended"]["kernel"]
    expected = np.empty((B, N, D))
    for i in np.ndindex(B, N):
        gate = 1 / (1 + np.exp(-(STATES[i] @ a + FOUND[i] @ b)))
        expected[i] = (1 - gate) * STATES[i] + gate * FOUND[i]
    np.testing.assert_allclose(MODULE.apply({"params": PARAMS}, STATES, FOUND, ALL), expected, atol=1e-6)


def test_there_are_two_matrices_and_nothing_else() -> None:
    assert jax.tree.map(np.shape, PARAMS) == {"own": {"kernel": (D, D)}, "attended": {"kernel": (D, D)}}


def test_an_open_and_a_closed_gate() -> None:
    ones = np.ones((B, N, D), np.float32)
    zeros = np.zeros((D, D), np.float32)
    for far, expected in ((50.0, ones), (-50.0, -ones)):
        params = {"own": {"kernel": zeros}, "attended": {"kernel": np.full((D, D), far, np.float32)}}
        np.testing.assert_array_equal(MODULE.apply({"params": params}, -ones, ones, ALL), expected)


def test_where_nothing_was_found_there_is_no_gate() -> None:
    some = np.array([True, False])
    found = MODULE.apply({"params": PARAMS}, STATES, np.where(some[:, None, None], FOUND, 0), some)
    np.testing.assert_array_equal(found[1], STATES[1])
    np.testing.assert_array_equal(found[0], MODULE.apply({"params": PARAMS}, STATES, FOUND, ALL)[0])
    gradient = jax.grad(lambda p: MODULE.apply({"params": p}, STATES, FOUND, ~ALL).sum())(PARAMS)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))
