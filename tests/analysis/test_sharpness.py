"""Kurtosis and divergence against scipy's."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.analysis.sharpness import divergence_of_heads, kurtosis

TENTHS = st.integers(0, 100).map(lambda n: n / 100)  # no two of them so near that a variance is rounding alone


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(2, 9)), elements=TENTHS))
def test_kurtosis_is_scipys(values):
    found = kurtosis(values)
    for own, row in zip(found, values, strict=True):
        if np.ptp(row) == 0:
            assert np.isnan(own) or row.std() > 0  # a mean can be off by a rounding
        else:
            np.testing.assert_allclose(own, scipy.stats.kurtosis(row), rtol=1e-9)


def test_one_patch_that_stands_out_has_more_kurtosis_than_even_attention():
    peaked, spread = np.full(50, 0.002), np.linspace(0.01, 0.03, 50)
    peaked[7] = 0.902
    assert kurtosis(peaked) > 40 > 0 > kurtosis(spread)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 5)), elements=TENTHS))
def test_divergence_is_scipys_summed_over_heads(values):
    maps = (values + 0.01 * (np.arange(values.shape[-1]) == 0)) / (values + 0.01 * (np.arange(values.shape[-1]) == 0)).sum(
        -1, keepdims=True
    )
    expected = sum(scipy.special.rel_entr(head, maps.mean(axis=0)).sum(axis=-1) for head in maps)
    found = divergence_of_heads(maps)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert (found >= -1e-12).all()


def test_heads_that_agree_do_not_diverge_and_negative_weights_are_refused():
    assert abs(divergence_of_heads(np.array([[0.2, 0.8, 0.0]] * 3))) < 1e-12
    np.testing.assert_allclose(divergence_of_heads(np.eye(2)), 2 * np.log(2))
    with pytest.raises(ValueError, match="no negative values"):
        divergence_of_heads(np.array([[-0.1, 1.1]]))
