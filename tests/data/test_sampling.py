"""Shares are drawn by stratum and without replacement; shuffled pictures come from others; hidden ones are hidden everywhere."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.sampling import hidden_pictures, shuffled_pictures, stratified
from mmre_jax.records import Record


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=80), st.floats(0.01, 1.0), st.integers(0, 5))
def test_a_share_of_each_stratum(strata, share, seed):
    chosen = stratified(strata, share, seed)
    assert len(set(chosen.tolist())) == len(chosen) == round(share * len(strata))
    whole, part = collections.Counter(strata), collections.Counter(strata[i] for i in chosen)
    assert all(abs(part[name] - share * count) < 1 for name, count in whole.items())
    np.testing.assert_array_equal(chosen, stratified(strata, share, seed))


def test_shares_differ_by_seed():
    strata = ["a", "b"] * 50
    assert not np.array_equal(stratified(strata, 0.2, 0), stratified(strata, 0.2, 1))


def test_shuffled_pictures_come_from_other_records():
    found = shuffled_pictures(23, 0)
    assert sorted(found) == list(range(23)) and (found != np.arange(23)).all()
    with pytest.raises(ValueError, match="1 records"):
        shuffled_pictures(1, 0)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_pictures(share):
    records = [Record(id=str(i), words=("a",), image=f"{i // 2}.jpg") for i in range(20)]
    shown = hidden_pictures(records, np.arange(20), share, 3)
    visible = {records[i].image for i in shown if i >= 0}
    assert len(visible) == round(10 * share)
    assert all((shown[i] == i) == (records[i].image in visible) for i in range(20)), "records that share a picture share its fate"
    shuffled = hidden_pictures(records, shuffled_pictures(20, 0), share, 3)
    assert {records[i].image for i in shuffled if i >= 0} == visible


def test_fewer_pictures_are_among_more():
    records = [Record(id=str(i), words=("a",), image=f"{i}.jpg") for i in range(40)]
    few, many = (set(hidden_pictures(records, np.arange(40), share, 0).tolist()) for share in (0.2, 0.6))
    assert few <= many
