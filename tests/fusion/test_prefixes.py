"""The prefixes: their words, their slots, and where they start from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.fusion.prefixes import Prefix, entity_means, objects_of, words_around

TABLE = np.arange(24, dtype=np.float32).reshape(8, 3)


def rows(ids):
    return jnp.take(jnp.asarray(TABLE), ids, axis=0)


def test_words_around_the_slots():
    assert words_around("Consider {}, predict relation.") == (["Consider"], [",", "predict", "relation", "."])
    assert words_around("{}") == ([], [])
    for template in ("Consider, predict", "{} and {}"):
        with pytest.raises(ValueError, match="system.prefix.words=.* has no place, or several"):
            words_around(template)


def test_a_prefix_starts_as_the_vocabulary_and_is_trained_beside_it():
    prefix = Prefix((5,), (6, 2))
    slots, there = np.full((2, 2, 3), 50.0, np.float32), np.array([[True, True], [False, False]])
    variables = prefix.init(jax.random.key(0), rows, slots, there)
    places, valid = prefix.apply(variables, rows, slots, there)
    np.testing.assert_array_equal(places[0], [TABLE[5], slots[0, 0], slots[0, 1], TABLE[6], TABLE[2]])
    np.testing.assert_array_equal(valid, [[True] * 5, [True, False, False, True, True]])

    def last(variables, table):
        return prefix.apply(variables, lambda ids: jnp.take(table, ids, axis=0), slots, there)[0][:, -1].sum()

    trained, table = jax.grad(last, argnums=(0, 1))(variables, jnp.asarray(TABLE))
    np.testing.assert_array_equal(trained["params"]["offset"], [[0] * 3, [0] * 3, [2] * 3])
    assert not table.any(), "the table learns from the text"
    moved = {"params": {"offset": variables["params"]["offset"] + 1.0}}
    np.testing.assert_array_equal(prefix.apply(moved, rows, slots, there)[0][0, 0], TABLE[5] + 1)


def test_a_prefix_without_words_is_its_slots():
    """And has no parameter: an array without entries cannot be saved."""
    slots, there = np.full((2, 2, 3), 50.0, np.float32), np.array([[True, True], [False, True]])
    (places, valid), variables = Prefix((), ()).init_with_output(jax.random.key(0), rows, slots, there)
    assert not jax.tree.leaves(variables)
    np.testing.assert_array_equal(places, slots)
    np.testing.assert_array_equal(valid, there)


def test_slots_by_hand():
    x = jnp.array([[[1.0, 0.0], [3.0, 0.0], [0.0, 8.0]]])
    entities = jnp.array([[[True, True, False], [False, False, True]]])
    means = entity_means(x, entities)
    np.testing.assert_allclose(means, [[[2.0, 0.0], [0.0, 8.0]]])

    objects, there = jnp.array([[[4.0, 0.0], [0.0, 2.0], [9.0, 9.0]]]), jnp.array([[True, True, False]])
    high, low = np.e / (1 + np.e), 1 / (1 + np.e)
    np.testing.assert_allclose(objects_of(means, objects, there), [[[4 * high, 2 * low], [4 * low, 2 * high]]], rtol=1e-5)
    assert not objects_of(means, objects, jnp.zeros((1, 3), bool)).any()
