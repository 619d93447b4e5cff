"""Dual-gated fusion, equation by equation, on numbers worked by hand and against NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.fusion.dual_gate import GATES, DualGate, add_caption

WORDS = np.array([[True, True, False], [True, False, False]])
THERE = np.array([[True, True], [False, False]])


def erf(x):
    return np.vectorize(math.erf)(x)


@pytest.fixture(scope="module")
def example():
    rng = np.random.default_rng(0)
    text, image, objects = (rng.normal(size=(2, n, 4)).astype(np.float32) for n in (3, 5, 2))
    given = (text, WORDS, image, np.array([True, False]), objects, THERE)
    shapes = jax.eval_shape(DualGate().init, jax.random.key(0), *given)
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    return given, variables


def dense(variables, *path):
    found = variables["params"]
    for name in path:
        found = found[name]
    return lambda x: x @ found["kernel"] + found["bias"]


def test_equations_4_to_7(example):
    (text, _, image, seen, objects, there), variables = example
    fused, gates = DualGate().apply(variables, text, WORDS, image, seen, objects, there)

    mean = text[0, :2].mean(axis=0)
    cosines = np.array([mean @ o / np.linalg.norm(mean) / np.linalg.norm(o) for o in objects[0]])
    alpha = np.exp(cosines) / np.exp(cosines).sum()  # eq. 4
    beta = dense(variables, "beta")(alpha[0] * objects[0, 0] + alpha[1] * objects[0, 1])  # eq. 5
    gamma = np.tanh(dense(variables, "gamma")(image[0].mean(axis=0)))  # eq. 6
    hidden = dense(variables, "mlp", "up")(text[0] * gamma + beta)
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    expected = dense(variables, "mlp", "down")(hidden) + text[0]  # eq. 7
    np.testing.assert_allclose(fused[0], expected, atol=1e-5)
    assert len(GATES) == 3
    np.testing.assert_allclose(gates[0], [np.abs(gamma).mean(), np.abs(beta).mean(), alpha.max()], atol=1e-5)


def test_what_is_absent_is_not_read(example):
    """The second record has neither picture nor objects: its text stays as it is."""
    (text, _, image, seen, objects, there), variables = example
    fused, gates = DualGate().apply(variables, text, WORDS, image, seen, objects, there)
    np.testing.assert_array_equal(fused[1], text[1])
    np.testing.assert_array_equal(gates[1], 0.0)
    none, _ = DualGate().apply(variables, text, WORDS, image, seen, objects, np.zeros((2, 2), bool))
    other, _ = DualGate().apply(variables, text, WORDS, image, seen, -objects, np.zeros((2, 2), bool))
    np.testing.assert_array_equal(none, other)
    assert not np.allclose(none[0], fused[0], atol=1e-3) and not np.allclose(none[0], text[0], atol=1e-3), "the image is there yet"
    without = {"params": {name: tree for name, tree in variables["params"].items() if name != "beta"}}
    alone, _ = DualGate().apply(without, text, WORDS, image, seen)
    np.testing.assert_allclose(alone, none, atol=1e-6)


def test_equation_8_by_hand():
    text = jnp.array([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]])
    caption = jnp.array([[10.0, 0.0], [10.0, 0.0]])
    found = add_caption(text, caption, jnp.array([True, False]), 0.4)
    np.testing.assert_allclose(found, [[[5.0, 2.0], [7.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]])
