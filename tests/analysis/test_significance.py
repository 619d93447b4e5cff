"""The bootstrap against a loop over the same draws, McNemar and Holm against numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from mmre_jax.analysis import significance
from mmre_jax.tasks.task import precision_recall_f1


def counts(seed, records=40, programs=2):
    """Some programs' right, predicted and gold, int [N, programs, 3], as relations have them: 0 or 1."""
    random = np.random.default_rng(seed)
    gold = np.repeat(random.integers(0, 2, (records, 1)), programs, axis=1)
    predicted = random.integers(0, 2, (records, programs))
    return np.stack([gold * predicted * random.integers(0, 2, (records, programs)), predicted, gold], axis=-1)


def test_the_bootstrap_is_a_loop_over_draws(monkeypatch):
    table, resamples = counts(0), 50
    found = significance.resampled_f1(table, resamples, seed=3)
    drawn = np.random.default_rng(3).integers(len(table), size=(resamples, len(table)))
    for row, indices in zip(found, drawn, strict=True):
        for program in range(2):
            right = predicted = gold = 0
            for record in indices:
                right += table[record, program, 0]
                predicted += table[record, program, 1]
                gold += table[record, program, 2]
            assert row[program] == precision_recall_f1(right, predicted, gold)["f1"]
    monkeypatch.setattr(significance, "_BLOCK", 7 * len(table))
    np.testing.assert_array_equal(significance.resampled_f1(table, resamples, seed=3), found)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_f1_is_scikit_learns(pairs):
    gold, guesses = zip(*pairs, strict=True)
    each = np.array([[g and p, p, g] for g, p in pairs], int)
    assert significance.f1(each.sum(0)) == pytest.approx(f1_score(gold, guesses, zero_division=0))


def test_a_thing_is_not_different_from_itself():
    resamples = significance.resampled_f1(counts(1)[:, [0, 0]], 200, seed=0)
    differences = resamples[:, 0] - resamples[:, 1]
    assert significance.p_value(differences) == 1 and not significance.interval(differences).any()
    right = np.array([True, False, True])
    assert significance.mcnemar(right, right) == significance.McNemar(0, 0, 1.0)


def test_p_values_and_intervals_of_known_differences():
    differences = np.arange(-10, 990) / 1000  # 11 of 1,000 are not above 0
    assert significance.p_value(differences) == significance.p_value(-differences) == pytest.approx(2 * 12 / 1001)
    np.testing.assert_allclose(significance.interval(np.arange(1001.0)), [25, 975])
    assert significance.p_value(np.ones(999)) == pytest.approx(2 / 1000), "never 0"


def test_the_bootstrap_finds_the_spread_of_an_accuracy():
    """Of n records with a share q right, the standard error is sqrt(q (1 - q) / n)."""
    right = np.arange(400) < 300
    table = np.stack([right, np.ones(400), np.ones(400)], axis=-1).astype(int)
    spread = significance.resampled_f1(table, 4000, seed=0)
    assert spread.mean() == pytest.approx(0.75, abs=0.002)
    assert spread.std() == pytest.approx(np.sqrt(0.75 * 0.25 / 400), rel=0.05)


def test_mcnemar_by_hand():
    """1 against 5: 2 (C(6, 0) + C(6, 1)) / 2^6 = 14 / 64. 3 against 3: 1."""
    first = np.array([1, 0, 0, 0, 0, 0, 1, 1, 0], bool)
    second = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0], bool)
    assert significance.mcnemar(first, second) == significance.McNemar(1, 5, pytest.approx(14 / 64))
    assert significance.mcnemar(second, first).p == pytest.approx(14 / 64)
    even = np.array([1, 1, 1, 0, 0, 0], bool)
    assert significance.mcnemar(even, ~even) == significance.McNemar(3, 3, 1.0)


def test_holm_by_hand():
    assert significance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert significance.holm([0.5, 0.6]) == [1.0, 1.0]
    assert significance.holm([0.2]) == [0.2] and significance.holm([]) == []


def test_nothing_to_draw_from():
    with pytest.raises(ValueError, match="found 0 and 10"):
        significance.resampled_f1(np.zeros((0, 2, 3), int), 10, 0)
