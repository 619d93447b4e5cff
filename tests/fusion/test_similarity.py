"""Cosine shares by hand, and where there is nothing to choose from."""

import jax
import jax.numpy as jnp
import numpy as np

from mmre_jax.fusion.similarity import cosine_shares, softmax_over, unit


def test_shares_by_hand():
    """Of a thing at a right angle and one in the same direction, whatever their lengths."""
    query = jnp.array([[[2.0, 0.0]]] * 3)
    things = jnp.array([[[0.0, 5.0], [7.0, 0.0], [1.0, 1.0]]] * 3)
    valid = jnp.array([[True, True, False], [True, False, False], [False, False, False]])
    found = cosine_shares(query, things, valid)[:, 0]
    np.testing.assert_allclose(found, [[1 / (1 + np.e), np.e / (1 + np.e), 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_gradients_are_finite_where_there_is_nothing():
    def total(query, things):
        return (cosine_shares(query, things, jnp.zeros((1, 2), bool)) * 3.0).sum() + unit(query).sum()

    for slope in jax.grad(total, argnums=(0, 1))(jnp.zeros((1, 1, 3)), jnp.zeros((1, 2, 3))):
        assert np.isfinite(slope).all()
    assert np.isfinite(jax.grad(lambda x: softmax_over(x, jnp.zeros(2, bool)).sum())(jnp.zeros(2))).all()
