"""Whether scores say how often predictions are right: calibration errors, likelihoods, and the threshold for a wanted precision.

Expected calibration error (ECE): predictions are put into BINS bins of their score, and ECE is the mean, over all predictions, of how far
their bin's mean score is from its share of right ones: sum over bins of |B| / N * |right(B) - score(B)|. Of equal width the bins are
(0, 1/M], ..., ((M-1)/M, 1], 0 being in the first (Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
eq. 3, with M = 15 as there). Adaptive bins hold equally many predictions, in the order of their scores (Nguyen and O'Connor, Posterior
Calibration and Exploratory Analysis for Natural Language Processing Models, EMNLP 2015).

NLL (nats) and Brier score are means over predictions: of relations whose whole distribution is known those of the distribution, -log p of
the annotated label and the sum over labels of (p - [annotated])^2; else those of right and wrong, Brier's then (p - [right])^2.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmre_jax.analysis.report import Row
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.tasks.events import Events

BINS = 15
_LEAST = 1e-12  # a probability whose logarithm is taken
_DECIMALS = 6  # of a threshold, where they are enough


@dataclasses.dataclass(frozen=True)
class Bins:
    """Predictions by score: how many, their mean score and the share of right ones; of empty bins both are nan. [M] each."""

    count: np.ndarray
    score: np.ndarray
    right: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error; 0 of no prediction."""
        full = self.count > 0
        gaps = np.abs(self.right[full] - self.score[full])
        return float((self.count[full] * gaps).sum() / max(self.count.sum(), 1))


def equal_width(score: np.ndarray, right: np.ndarray, bins: int = BINS) -> Bins:
    """Bins of equal width, of scores float [N] in [0, 1] and right bool [N]."""
    place = np.clip(np.ceil(score * bins).astype(np.int64) - 1, 0, bins - 1)
    return _bins(place, score, right, bins)


def adaptive(score: np.ndarray, right: np.ndarray, bins: int = BINS) -> Bins:
    """Bins of equally many predictions, or one more; of equal scores the first go first. As many as predictions where those are fewer."""
    bins = max(1, min(bins, len(score)))
    place = np.empty(len(score), np.int64)
    for number, members in enumerate(np.array_split(np.argsort(score, kind="stable"), bins)):
        place[members] = number
    return _bins(place, score, right, bins)


def _bins(place: np.ndarray, score: np.ndarray, right: np.ndarray, bins: int) -> Bins:
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values.astype(np.float64), minlength=bins) for values in (score, right)]
    means = [np.divide(each, count, out=np.full(bins, np.nan), where=count > 0) for each in sums]
    return Bins(count, *means)


def measures(found: Events) -> dict[str, float]:
    """{ece, adaptive_ece, nll, brier, score, right}: see above; score and right are the means of all predictions. 0 of no prediction."""
    score, right = found.score, found.right
    if not len(score):
        return dict.fromkeys(("ece", "adaptive_ece", "nll", "brier", "score", "right"), 0.0)
    if found.chances is not None and found.gold is not None:
        annotated = found.chances[np.arange(len(found.gold)), found.gold]
        nll = -np.log(np.maximum(annotated, _LEAST))
        brier = (found.chances**2).sum(axis=1) - 2 * annotated + 1
    else:
        nll = -np.log(np.maximum(np.where(right, score, 1 - score), _LEAST))
        brier = (score - right) ** 2
    means = {"nll": float(nll.mean()), "brier": float(brier.mean()), "score": float(score.mean()), "right": float(right.mean())}
    return {"ece": equal_width(score, right).error, "adaptive_ece": adaptive(score, right).error, **means}


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The least score from which on predictions are right as often as wanted. Predictions of the empty relation are not among them.

    wanted: the precision.  least: the score, None where no score reaches it.  precision, recall: of the predictions that are kept.
    coverage: the share of predictions that is kept.  kept: how many.
    """

    wanted: float
    least: float | None
    precision: float
    recall: float
    coverage: float
    kept: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def threshold(found: Events, wanted: float) -> Threshold:
    """The least score such that of the predictions with this score or a higher one a share of `wanted` is right.

    It is given with few decimals where they part the kept predictions from the others.
    """
    score, right = found.score[found.something], found.right[found.something]
    order = np.argsort(-score, kind="stable")
    score, right = score[order], right[order]
    kept, hits = np.arange(1, len(score) + 1), right.cumsum()
    last = np.append(score[1:] != score[:-1], True)[: len(score)]  # predictions of one score are kept together
    reached = np.flatnonzero(last & (hits / kept >= wanted))
    if not len(reached):
        return Threshold(wanted, None, 0.0, 0.0, 0.0, 0)
    end = int(reached[-1])
    below = float(score[end + 1]) if end + 1 < len(score) else -1.0
    short = math.floor(float(score[end]) * 10**_DECIMALS) / 10**_DECIMALS
    return Threshold(
        wanted,
        short if below < short else float(score[end]),
        float(hits[end] / kept[end]),
        float(hits[end] / found.annotated) if found.annotated else 0.0,
        float(kept[end] / len(score)),
        int(kept[end]),
    )


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How reliable the scores of a split are.

    split: its name.  raw: the predictions with scores as the system gives them.
    fitted: the calibration that their checkpoint holds, with what it was fitted on (training/calibration.py); None where there is none.
    wanted: the precision that a threshold is to be found for, if any.
    """

    split: str
    raw: Events
    fitted: Mapping[str, Any] | None = None
    wanted: float | None = None

    @property
    def calibrated(self) -> Events | None:
        """The predictions with calibrated scores."""
        if self.fitted is None:
            return None
        return self.raw.calibrated(Calibration(self.fitted["temperature"], self.fitted["bias"]))

    @property
    def told(self) -> Events:
        """The predictions with the scores that an extraction tells."""
        return self.raw if self.calibrated is None else self.calibrated

    def rows(self) -> list[Row]:
        """A row of numbers for the scores as they are, and one for the calibrated ones."""
        named = {"as predicted": self.raw} | ({} if self.calibrated is None else {"calibrated": self.calibrated})
        return [{"scores": name, "count": len(found.score), **measures(found)} for name, found in named.items()]

    def threshold(self) -> Threshold | None:
        """That for the wanted precision."""
        return None if self.wanted is None else threshold(self.told, self.wanted)

    def says(self) -> list[str]:
        """What stands below the rows."""
        lines = []
        if self.fitted is not None:
            bias = f", bias {self.fitted['bias']:.3f}" if self.fitted["bias"] else ""
            on = self.fitted.get("split", "?")
            same = " (this split: of others it may be right less)" if on == self.split else ""
            lines.append(f"temperature {self.fitted['temperature']:.3f}{bias}, fitted on {on}{same}")
        if (found := self.threshold()) is not None:
            if found.least is None:
                lines.append(f"precision {found.wanted:g} is not reached on {self.split} from any score on")
            else:
                kept = f"precision {found.precision:.3f}, recall {found.recall:.3f}, {found.kept} kept ({found.coverage:.1%})"
                lines.append(f"precision {found.wanted:g} on {self.split}: --min_score={found.least!r} ({kept})")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values: split, bins, fitted, raw and calibrated (`measures`), threshold."""
        both = {"raw": measures(self.raw)} | ({} if self.calibrated is None else {"calibrated": measures(self.calibrated)})
        found = self.threshold()
        return {
            "split": self.split,
            "count": len(self.raw.score),
            "bins": BINS,
            "fitted": None if self.fitted is None else dict(self.fitted),
            **both,
            **({} if found is None else {"threshold": found.to_json()}),
        }
