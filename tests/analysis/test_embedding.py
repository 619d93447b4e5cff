"""Points that lie apart come to lie apart, the same way each time."""

import numpy as np
import pytest

from mmre_jax.analysis.embedding import plane


def test_two_clouds_stay_two():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(24, 8)) + 40.0 * (np.arange(24) < 12)[:, None]
    found = plane(points)
    assert found.shape == (24, 2) and found.dtype == np.float32
    first, second = found[:12], found[12:]
    assert np.linalg.norm(first.mean(0) - second.mean(0)) > max(first.std(), second.std())
    np.testing.assert_array_equal(found, plane(points))


def test_points_that_cannot_be_placed_are_refused():
    with pytest.raises(ValueError, match=r"n at least 5, found \[4, 3\]"):
        plane(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        plane(np.full((6, 2), np.nan))
