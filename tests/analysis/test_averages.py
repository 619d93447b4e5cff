"""A mean that comes in batches is the mean of all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.analysis.averages import Mean


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(0, 2**31))
def test_batches_make_the_mean_of_all_that_are_there(sizes, seed):
    rng = np.random.default_rng(seed)
    values, there = rng.normal(size=(sum(sizes), 3, 2)).astype(np.float32), rng.random((sum(sizes), 3)) < 0.6
    mean = Mean()
    for stop, size in zip(np.cumsum(sizes), sizes, strict=True):
        mean.add(values[stop - size : stop], there[stop - size : stop])
    for place in range(3):
        own = values[there[:, place], place].astype(np.float64)
        expected = own.mean(axis=0) if len(own) else np.full(2, np.nan)
        np.testing.assert_allclose(mean.value()[place], expected, atol=1e-12)
    assert mean.count == there.sum(axis=0).max(initial=0)


def test_nan_of_what_is_not_there_is_not_read():
    mean = Mean()
    mean.add(np.array([[1.0, np.nan]]), np.array([[True, False]]))
    mean.add(np.array([[3.0, 4.0]]))
    np.testing.assert_array_equal(mean.value(), [2.0, 4.0])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a mean of no records"):
        Mean().value()
    mean = Mean()
    with pytest.raises(ValueError, match=r"values \[2, 3\] come with there \[3\]"):
        mean.add(np.ones((2, 3)), np.ones(3, bool))
    mean.add(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"shape \[4\] .* behind such of \[3\]"):
        mean.add(np.ones((2, 4)))
