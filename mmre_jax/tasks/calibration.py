"""Scores that are as often right as they say: a temperature, fitted by maximum likelihood on records that were not trained on.

Of relations, whose scores are a distribution over labels, the temperature divides the logits (Guo, Pleiss, Sun and Weinberger, On
Calibration of Modern Neural Networks, ICML 2017, section 4.2). A mention or a triple is right or wrong: its score's log-odds are divided by
the temperature, and a bias is added (Platt, Probabilistic Outputs for Support Vector Machines, 1999). That it is these events that are
calibrated, of those that are found, and not the distribution over all sequences of tags, is Kuleshov and Liang's (Calibrated Structured
Prediction, NIPS 2015): the likelihood of whole sequences says little of single mentions, and a temperature alone never moves a score past
1/2. Neither changes what is found: of relations the most likely label stays the most likely one, and the order of mentions and triples by
score stays as it is.

The fit is one with a prior: 1 / temperature is 1 give or take SLOPE, the bias 0 give or take BIAS, both normal. A few hundred predictions
outweigh it by far; where next to none is wrong, from which nothing can be learnt of errors, scores stay about what they were.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are used

LEAST, MOST = 0.05, 20.0  # temperatures that are tried
FARTHEST = 20.0  # a bias, in log-odds
SLOPE, BIAS = 0.25, 1.0  # standard deviations of the prior
_ROUND = 2.0**-24  # by how much float32 cannot tell a probability from 0 or 1


class CalibrationError(ValueError):
    """What scores cannot be fitted to, or a calibration that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What is made of scores; the default changes none.

    temperature: above 1 where the scores were too sure.  bias: of events, in log-odds.
    """

    temperature: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.temperature, self.bias]).all() and self.temperature > 0):
            raise CalibrationError(f"a temperature is above 0 and a bias is a number, found {self.temperature!r} and {self.bias!r}")

    @property
    def changes(self) -> bool:
        """Whether it is another than the default."""
        return self != Calibration()

    def distribution(self, probabilities: np.ndarray) -> np.ndarray:
        """softmax(log p / temperature) over the last axis, of probabilities float [..., R]."""
        return np.exp(_log_softmax(probabilities, 1.0 / self.temperature)) if self.changes else probabilities

    def event(self, probability: np.ndarray | float) -> np.ndarray:
        """sigmoid(log-odds / temperature + bias) of probabilities of any shape."""
        if not self.changes:
            return np.asarray(probability)
        return _sigmoid(_log_odds(probability) / self.temperature + self.bias)

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return {"temperature": self.temperature, "bias": self.bias}


def from_json(value: Mapping[str, Any], where: str) -> Calibration:
    """The calibration of plain values.

    Raises:
      CalibrationError: naming `where`, if they are no two numbers, or such as no calibration has.
    """
    numbers = [value.get(name) if isinstance(value, Mapping) else None for name in ("temperature", "bias")]
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        raise CalibrationError(f"{where}: expected an object with the numbers 'temperature' and 'bias', found {str(value):.80}")
    try:
        return Calibration(*map(float, numbers))
    except CalibrationError as error:
        raise CalibrationError(f"{where}: {error}") from error


def fit_distribution(probabilities: np.ndarray, gold: np.ndarray) -> Calibration:
    """The temperature, between LEAST and MOST, that is most probable given the gold labels.

    Minus the log-posterior is convex in 1 / temperature, so that there is one such.

    Args:
      probabilities: float [N, R].  gold: int [N], the label of each.

    Raises:
      CalibrationError: without an example.
    """
    if not len(gold):
        raise CalibrationError("there is no example to fit a temperature to")

    def loss(slope: float) -> float:
        return -float(_log_softmax(probabilities, slope)[np.arange(len(gold)), gold].sum()) + ((slope - 1) / SLOPE) ** 2 / 2

    found = scipy.optimize.minimize_scalar(loss, bounds=(1 / MOST, 1 / LEAST), method="bounded", options={"xatol": 1e-7})
    return Calibration(1 / float(found.x))


def fit_events(scores: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray) -> Calibration:
    """The temperature, between LEAST and MOST, and the bias that are most probable given which predictions are right.

    Minus the log-posterior is convex in 1 / temperature and bias.

    Args:
      scores: float [N], probabilities.  right: bool [N].

    Raises:
      CalibrationError: where nothing was found.
    """
    hits = np.asarray(right, bool)
    if not len(hits):
        raise CalibrationError("nothing was found, so that there is nothing to fit a temperature to")
    odds = _log_odds(np.asarray(scores, np.float64))
    centre, spread, count = np.array([1.0, 0.0]), np.array([SLOPE, BIAS]), len(hits)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits, away = parameters[0] * odds + parameters[1], (parameters - centre) / spread
        error = _sigmoid(logits) - hits
        value = (np.logaddexp(0, logits) - hits * logits).sum() + (away**2).sum() / 2
        return float(value) / count, (np.array([(error * odds).sum(), error.sum()]) + away / spread) / count

    bounds = [(1 / MOST, 1 / LEAST), (-FARTHEST, FARTHEST)]
    found = scipy.optimize.minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9})
    return Calibration(1 / float(found.x[0]), float(found.x[1]))


def _log_softmax(probabilities: np.ndarray, slope: float) -> np.ndarray:
    # Of one record's few labels SciPy's logsumexp takes a millisecond, and all is finite here.
    scaled = slope * np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float32).tiny))
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def _log_odds(probability: np.ndarray | float) -> np.ndarray:
    p = np.clip(np.asarray(probability, np.float64), _ROUND, 1 - _ROUND)
    return np.log(p) - np.log1p(-p)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return scipy.special.expit(x)
