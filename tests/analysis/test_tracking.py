"""Tracking maps against the paper's sums, element by element."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.analysis.tracking import normalised, patch_tracking, token_tracking


@st.composite
def distributions(draw, *lead):
    """Rows that sum to 1, of random positive numbers or with zeros among them; the places there are is drawn once."""
    places = draw(st.integers(1, 5))
    sizes = [draw(size) for size in lead]
    values = draw(hnp.arrays(np.float64, (*sizes, places, places), elements=st.floats(0, 1)))
    values = values + np.eye(places) * 0.01  # no row of zeros
    return values / values.sum(-1, keepdims=True)


def by_loops(attention):
    """H_V of one record, [N, K, P, P] -> [N + 1, P, P]: eq. 13, then eq. 16 summed over heads and normalised as eq. 17 says."""
    layers, heads, places = attention.shape[:3]
    levels = [[[1.0 if i == p else 0.0 for p in range(places)] for i in range(places)]]
    for layer in range(layers):
        before, now = levels[-1], []
        for i in range(places):
            row = []
            for p in range(places):
                weight = before[i][p]
                for head in range(heads):
                    for j in range(places):
                        weight += attention[layer, head, i, j] * before[j][p] / heads
                row.append(weight)
            total = sum(row)
            now.append([weight / total for weight in row])
        levels.append(now)
    return np.array(levels)


@given(distributions(st.integers(1, 3), st.integers(1, 3)))
def test_patch_tracking_is_the_papers_sum(attention):
    found = patch_tracking(attention.mean(axis=1))
    np.testing.assert_allclose(found, by_loops(attention), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-12)
    assert (found[0] == np.eye(attention.shape[-1])).all() and (found >= 0).all()


@given(distributions(st.integers(1, 2), st.integers(1, 2)), st.data())
def test_token_tracking_is_the_papers_sum(attention, data):
    tracked = by_loops(attention)
    places = tracked.shape[-1]
    cross = data.draw(hnp.arrays(np.float64, (2, 3, places), elements=st.floats(0, 1))) + 0.01  # heads, words; rows need not sum to 1
    for level, maps in enumerate(tracked):
        found = token_tracking(cross, maps)
        for m, t in np.ndindex(2, 3):
            row = [sum(cross[m, t, i] * maps[i][p] for i in range(places)) for p in range(places)]
            np.testing.assert_allclose(found[m, t], np.array(row) / sum(row), atol=1e-12, err_msg=f"level {level}")
        np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-12)


def test_records_of_a_batch_are_tracked_by_themselves():
    attention = normalised(np.random.default_rng(0).random((3, 2, 4, 4)))
    found = patch_tracking(attention)
    assert found.shape == (3, 3, 4, 4)
    np.testing.assert_array_equal(found[1], patch_tracking(attention[1]))


def test_what_is_not_square_is_refused_and_nothing_stays_nothing():
    with pytest.raises(ValueError, match=r"self-attention is \[..., N, P, P\], found \[2, 3, 4\]"):
        patch_tracking(np.ones((2, 3, 4)))
    assert (token_tracking(np.zeros((2, 3)), np.eye(3)) == 0).all()
