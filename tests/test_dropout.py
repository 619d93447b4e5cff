"""Dropout: its rate and its mean, and that every place is drawn by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.dropout import STEPS, Dropout, dropped, kept


@pytest.mark.parametrize("shape", [(4, 6), (3, 4), (3, 5), (7,), ()])
def test_each_place_stays_with_its_probability_and_by_itself(shape: tuple[int, ...]) -> None:
    """Over 20,000 keys: the share of each place, and of each pair of places, within 5 standard deviations; pairs share a random word."""
    keys = jax.random.split(jax.random.key(0), 20_000)
    keep = np.asarray(jax.jit(jax.vmap(lambda key: kept(key, 0.3, shape)))(keys)).reshape(len(keys), -1)
    assert keep.dtype == bool and keep.shape[1] == np.prod(shape, dtype=int)
    share = 1 - round(0.3 * STEPS) / STEPS
    assert np.abs(keep.mean(0) - share).max() < 5 * np.sqrt(0.3 * 0.7 / len(keys))
    together = keep.T.astype(float) @ keep / len(keys)
    apart = ~np.eye(keep.shape[1], dtype=bool)
    assert np.abs(together - share**2)[apart].max(initial=0) < 5 * np.sqrt(0.49 * 0.51 / len(keys))


def test_what_stays_is_scaled_and_what_falls_together_falls_together() -> None:
    x, key = jnp.arange(1.0, 25.0).reshape(2, 3, 4), jax.random.key(1)
    found = np.asarray(dropped(x, 0.25, key, (2, 3)))
    keep = np.asarray(kept(key, 0.25, (2, 3)))
    np.testing.assert_allclose(found, np.where(keep[..., None], x / 0.75, 0.0), rtol=1e-6)
    assert 0 < keep.sum() < keep.size
    np.testing.assert_array_equal(dropped(x, 0.0, key), x)
    assert np.isfinite(dropped(x, 1.0 - 1e-9, key)).all()
    assert dropped(x.astype(jnp.bfloat16), 0.25, key).dtype == jnp.bfloat16


def test_the_module_draws_anew_each_time_it_is_called_and_only_in_training() -> None:
    x, rngs = jnp.ones((8, 8)), {"dropout": jax.random.key(0)}
    drop = Dropout(0.5)
    first, second = (np.asarray(drop.apply({}, x, rngs={"dropout": jax.random.key(n)})) for n in range(2))
    assert not np.array_equal(first, second) and set(first.ravel()) == {0.0, 2.0}
    np.testing.assert_array_equal(drop.apply({}, x, deterministic=True), x)
    np.testing.assert_array_equal(Dropout(0.5, deterministic=True).apply({}, x), x)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, x, rngs=rngs), x)
