"""Temperatures by maximum likelihood: against other optimisers, on scores of known faults, and what stays as it was."""

import numpy as np
import pytest
from scipy import optimize, special

from mmre_jax.tasks.calibration import BIAS, LEAST, MOST, SLOPE, Calibration, CalibrationError, fit_distribution, fit_events, from_json


def spoilt(temperature: float, count: int = 4000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right at a temperature, and labels drawn from them at that temperature."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(count, classes))
    true = special.softmax(logits / temperature, axis=1)
    return special.softmax(logits, axis=1).astype(np.float32), (true.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_spoilt_a_distribution_is_found(temperature: float) -> None:
    probabilities, gold = spoilt(temperature)
    found = fit_distribution(probabilities, gold)
    assert found.temperature == pytest.approx(temperature, rel=0.08) and found.bias == 0
    np.testing.assert_array_equal(found.distribution(probabilities).argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(found.distribution(probabilities).sum(axis=1), 1)


def test_the_temperature_of_a_distribution_equals_another_optimisers() -> None:
    probabilities, gold = spoilt(1.7, count=300)

    def loss(temperature: np.ndarray) -> float:
        chances = special.softmax(np.log(probabilities.astype(np.float64)) / temperature[0], axis=1)
        return -np.log(chances[np.arange(len(gold)), gold]).sum() + ((1 / temperature[0] - 1) / SLOPE) ** 2 / 2

    other = optimize.minimize(loss, np.array([1.0]), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12})
    assert fit_distribution(probabilities, gold).temperature == pytest.approx(other.x[0], rel=1e-4)


@pytest.mark.parametrize(("slope", "bias"), [(1.0, 0.0), (0.4, -0.8), (2.0, 0.5)])
def test_temperature_and_bias_of_events_are_found(slope: float, bias: float) -> None:
    rng = np.random.default_rng(1)
    odds = 1.5 * rng.normal(size=20000) + 0.5
    right = special.expit(slope * odds + bias) > rng.random(20000)
    found = fit_events(special.expit(odds), right)
    assert 1 / found.temperature == pytest.approx(slope, rel=0.06) and found.bias == pytest.approx(bias, abs=0.06)


def test_events_equal_another_optimiser() -> None:
    rng = np.random.default_rng(2)
    scores, right = rng.random(60), rng.random(60) < 0.7

    def loss(parameters: np.ndarray) -> float:
        chances = special.expit(parameters[0] * special.logit(scores) + parameters[1])
        prior = ((parameters[0] - 1) / SLOPE) ** 2 / 2 + (parameters[1] / BIAS) ** 2 / 2
        return -np.log(np.where(right, chances, 1 - chances)).sum() + prior

    other = optimize.minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14, "maxiter": 4000})
    found = fit_events(scores, right)
    np.testing.assert_allclose([1 / found.temperature, found.bias], other.x, atol=1e-4)


def test_events_keep_their_order_and_are_never_certain() -> None:
    scores = np.array([0.0, 0.2, 0.5, 0.999, 1.0], np.float32)
    for right in ([True] * 5, [False] * 5, [True, True, False, False, False]):  # the last would turn the order around
        found = fit_events(np.tile(scores, 50), right * 50)
        told = found.event(scores)
        assert LEAST - 1e-9 <= found.temperature <= MOST + 1e-9
        assert (np.diff(told) > 0).all() and ((told > 0) & (told < 1)).all()


def test_without_errors_scores_stay_about_what_they_were() -> None:
    """A score that never came up on the split is not raised to what came up there."""
    sure = np.random.default_rng(4).uniform(0.99, 1, 700)
    found = fit_events(sure, np.ones(700, bool))
    assert 0.8 < found.temperature < 1.25 and found.event(0.2) < 0.5
    distribution = np.stack([1 - sure, sure], axis=1)
    assert 0.4 < fit_distribution(distribution, np.ones(700, np.int64)).temperature <= 1


def test_a_fit_makes_no_likelihood_worse() -> None:
    rng = np.random.default_rng(5)
    for count in (1, 2, 5, 40):
        scores, right = rng.random(count), rng.random(count) < 0.5
        before, after = (np.where(right, p, 1 - p) for p in (scores, fit_events(scores, right).event(scores)))
        assert np.log(after).sum() >= np.log(before).sum() - 1e-9
        chances, gold = rng.dirichlet(np.ones(3), count), rng.integers(0, 3, count)
        own = np.log(fit_distribution(chances, gold).distribution(chances)[np.arange(count), gold])
        assert own.sum() >= np.log(chances[np.arange(count), gold]).sum() - 1e-6


def test_the_default_changes_no_bit() -> None:
    scores = np.random.default_rng(3).random((4, 3)).astype(np.float32)
    assert Calibration().distribution(scores) is scores and not Calibration().changes
    np.testing.assert_array_equal(Calibration().event(scores), scores)


def test_nothing_to_fit_to() -> None:
    with pytest.raises(CalibrationError, match="there is no example"):
        fit_distribution(np.zeros((0, 3)), np.zeros(0, np.int64))
    with pytest.raises(CalibrationError, match="nothing was found"):
        fit_events([], [])


def test_as_json() -> None:
    made = Calibration(1.5, -0.25)
    assert from_json({**made.to_json(), "split": "val"}, "here") == made
    for value in ({}, {"temperature": 1.0}, {"temperature": "1", "bias": 0}, {"temperature": True, "bias": 0}, [1.0, 0.0]):
        with pytest.raises(CalibrationError, match="here: expected an object with the numbers 'temperature' and 'bias'"):
            from_json(value, "here")
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(CalibrationError, match="here: a temperature is above 0"):
            from_json({"temperature": temperature, "bias": 0.0}, "here")
