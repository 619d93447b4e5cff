"""Calibration errors and thresholds against their definitions, written out one prediction after the other."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.analysis.reliability import BINS, Reliability, adaptive, equal_width, measures, threshold
from mmre_jax.analysis.reliability_plots import figure
from mmre_jax.tasks.events import Events

predictions = st.lists(
    st.tuples(st.sampled_from([0.0, 0.05, 0.2, 1 / 3, 0.5, 0.9, 0.99, 1.0]) | st.floats(0, 1), st.booleans()), max_size=40
)


def made(pairs: list[tuple[float, bool]], something: list[bool] | None = None, annotated: int = 10) -> Events:
    score, right = (np.array([pair[i] for pair in pairs], kind) for i, kind in enumerate((np.float64, bool)))
    return Events(score, right, np.ones(len(pairs), bool) if something is None else np.array(something, bool), annotated)


def gap(pairs: list[tuple[float, bool]]) -> float:
    return abs(sum(score for score, _ in pairs) / len(pairs) - sum(right for _, right in pairs) / len(pairs)) if pairs else 0.0


@given(predictions)
def test_errors_equal_their_definition(pairs: list[tuple[float, bool]]) -> None:
    found = measures(made(pairs))
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for score, right in pairs:
        fits = [m for m in range(BINS) if m / BINS < score <= (m + 1) / BINS]
        if not fits or abs(score * BINS - round(score * BINS)) < 1e-9:  # on an edge rounding decides
            fits = [min(max(math.ceil(score * BINS) - 1, 0), BINS - 1)]
        bins[fits[0]].append((score, right))
    assert found["ece"] == pytest.approx(sum(len(own) * gap(own) for own in bins) / max(len(pairs), 1))
    rest, each, total = sorted(pairs, key=lambda pair: pair[0]), min(BINS, max(len(pairs), 1)), 0.0
    for number in range(each):
        size = len(pairs) // each + (number < len(pairs) % each)
        own, rest = rest[:size], rest[size:]
        total += size * gap(own)
    assert not rest and found["adaptive_ece"] == pytest.approx(total / max(len(pairs), 1))
    if pairs:
        assert found["brier"] == pytest.approx(np.mean([(score - right) ** 2 for score, right in pairs]))
        chances = [max(score if right else 1 - score, 1e-12) for score, right in pairs]
        assert found["nll"] == pytest.approx(-np.mean(np.log(chances)))


def test_of_distributions_all_labels_count() -> None:
    rng = np.random.default_rng(0)
    chances, gold = rng.dirichlet(np.ones(4), 50), rng.integers(0, 4, 50)
    best = chances.argmax(axis=1)
    found = Events(chances.max(axis=1), best == gold, best != 0, int((gold != 0).sum()), chances, gold)
    expected = sum((chances[n, k] - (gold[n] == k)) ** 2 for n in range(50) for k in range(4)) / 50
    assert measures(found)["brier"] == pytest.approx(expected)
    assert measures(found)["nll"] == pytest.approx(-np.mean([math.log(chances[n, gold[n]]) for n in range(50)]))


def test_scores_that_are_as_often_right_have_no_error() -> None:
    rng = np.random.default_rng(1)
    score = rng.random(40000)
    honest, spoilt = (Events(s, rng.random(40000) < score, np.ones(40000, bool), 1) for s in (score, np.sqrt(score)))
    assert measures(honest)["ece"] < 0.015 and measures(honest)["adaptive_ece"] < 0.015
    assert measures(spoilt)["ece"] == pytest.approx(2 / 3 - 1 / 2, abs=0.01)
    assert equal_width(score, score > 0).count.sum() == adaptive(score, score > 0).count.sum() == 40000
    assert np.ptp(adaptive(score, score > 0).count) <= 1


@given(predictions, st.sampled_from([0.0, 0.5, 2 / 3, 0.75, 0.9, 1.0]), st.data())
def test_a_threshold_is_the_least_score_that_reaches_the_precision(pairs: list[tuple[float, bool]], wanted: float, data: Any) -> None:
    something = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    found = threshold(made(pairs, something), wanted)
    own = [pair for pair, real in zip(pairs, something, strict=True) if real]
    reached = []
    for least in {score for score, _ in own}:
        kept = [right for score, right in own if score >= least]
        if sum(kept) / len(kept) >= wanted:
            reached.append(least)
    if not reached:
        assert found.least is None and found.kept == 0
        return
    kept = [right for score, right in own if score >= min(reached)]
    assert [right for score, right in own if score >= found.least] == kept and found.least <= min(reached)
    assert found.kept == len(kept) and found.precision == sum(kept) / len(kept) >= wanted
    assert found.recall == sum(kept) / 10 and found.coverage == len(kept) / len(own)


def test_a_threshold_has_few_decimals_where_they_do() -> None:
    close = made([(0.12345678, True), (0.1234565, False)])
    assert threshold(close, 1.0).least == 0.12345678, "0.123456 would keep both"
    assert threshold(made([(0.12345678, True), (0.12, False)]), 1.0).least == 0.123456


def test_what_is_told() -> None:
    raw = made([(0.9, True), (0.95, False), (0.6, True), (0.7, True)], annotated=4)
    fitted = {"temperature": 2.0, "bias": -0.5, "split": "val"}
    plain, both = Reliability("test", raw, None, 0.7), Reliability("val", raw, fitted, 1.0)
    assert [row["scores"] for row in plain.rows()] == ["as predicted"] and plain.told is raw
    assert plain.says() == ["precision 0.7 on test: --min_score=0.6 (precision 0.750, recall 0.750, 4 kept (100.0%))"]
    expected = 1 / (1 + np.exp(0.5 - np.log(raw.score / (1 - raw.score)) / 2))
    np.testing.assert_allclose(both.told.score, expected)
    assert both.says() == [
        "temperature 2.000, bias -0.500, fitted on val (this split: of others it may be right less)",
        "precision 1 is not reached on val from any score on",
    ]
    told = both.to_json()
    assert told["fitted"] == fitted and told["threshold"]["least"] is None and told["calibrated"]["right"] == told["raw"]["right"] == 0.75
    assert "threshold" not in dataclasses.replace(plain, wanted=None).to_json() and plain.to_json()["fitted"] is None
    assert len(figure(plain).axes) == 2 and len(figure(both).axes) == 4
    assert both.raw.score[0] == 0.9
