"""Turns, and what their times say."""

import pytest

from mmre_jax.benchmark.turns import medians, ratio, take_turns


def test_sides_take_turns_and_the_first_round_is_not_counted():
    order, seconds = [], iter(range(100))

    def side(name):
        def timed():
            order.append(name)
            return float(next(seconds))

        return timed

    found = take_turns({name: side(name) for name in "abc"}, 3)
    assert "".join(order) == "cba" + "abc" + "cba" + "abc", "each other round in reverse, so that nobody is always the first"
    assert found == {"a": [3.0, 8.0, 9.0], "b": [4.0, 7.0, 10.0], "c": [5.0, 6.0, 11.0]}
    with pytest.raises(ValueError, match="at least 1 round"):
        take_turns({}, 0)


def test_ratios_are_of_pairs():
    """A machine that slows down to a third in the last round slows both sides: the ratio of medians would say something else."""
    seconds = {"ours": [1.0, 1.0, 6.0], "theirs": [2.0, 4.0, 6.0]}
    assert ratio(seconds, "ours", "theirs") == {"median": 0.5, "low": 0.25, "high": 1.0}
    assert medians(seconds) == {"ours": 1.0, "theirs": 4.0}
