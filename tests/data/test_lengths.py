"""Padded lengths and windows: few, and none better among all there are."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import hvformer
from mmre_jax.data import lengths
from mmre_jax.data.loader import Order


def padded(buckets, longest):
    return int(np.array(buckets)[np.searchsorted(buckets, longest)].sum())


@given(st.lists(st.integers(2, 80), min_size=1, max_size=40))
def test_no_other_lengths_waste_less(longest):
    chosen = lengths.fewest(longest, 80)
    own = [bucket for bucket in chosen if bucket != 80 or max(longest) > 72]
    assert chosen[-1] == 80 and len(own) <= lengths.MOST and all(bucket % lengths.STEP == 0 for bucket in chosen)
    every = [bucket for bucket in range(8, 81, 8) if bucket <= own[-1]]
    others = itertools.combinations(every[:-1], len(own) - 1)
    assert padded(own, longest) == min(padded((*inner, own[-1]), longest) for inner in others)


def test_a_length_that_saves_little_is_not_compiled():
    assert lengths.fewest([16] * 99 + [80], 80) == (16, 80)
    assert lengths.fewest([80] * 99 + [72], 80) == (80,)
    assert lengths.fewest([16] * 9, 80) == (16, 80), "any record fits; the largest length does not occur"
    assert lengths.fewest([37, 37], 37) == (37,), "the longest sequence there can be is no multiple of eight"


def config(**changes):
    found = hvformer.get_config("mnre").copy_and_resolve_references().unlock()
    found.data.update(changes)
    return found.lock()


def test_what_is_open_is_chosen_and_what_is_given_stays():
    drawn = np.random.default_rng(0).gamma(9.0, 3.4, 4000).clip(6, 80).astype(np.int64)
    chosen = lengths.choose(drawn, config())
    assert chosen == lengths.choose(drawn.copy(), config()) and chosen.window > 1 and chosen.buckets[-1] == 80
    assert chosen.padded < 1.3 * chosen.mean
    usual = Order(drawn, 32, (32, 48, 80), True, 0, 1).epoch(0)[1].mean()
    assert chosen.padded < 0.8 * usual
    assert lengths.choose(drawn, config(window=1)).window == 1
    fixed = lengths.choose(drawn, config(buckets=(48, 80)))
    assert fixed.buckets == (48, 80) and fixed.window in lengths.WINDOWS
    assert "tokens a record" in str(chosen)


def test_records_of_one_length_need_no_window():
    assert lengths.choose(np.full(640, 12), config()) == lengths.Padding((16, 80), 1, 12.0, 16.0)


@pytest.mark.parametrize(("given", "expected"), [((), (*range(8, 80, 8), 80)), ((32, 80), (32, 80))])
def test_before_anything_is_chosen_every_length_is_there(given, expected):
    assert lengths.buckets_of(config(buckets=given)) == expected
