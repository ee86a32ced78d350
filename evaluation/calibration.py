"""Scores to probabilities: monotone calibrators learnt from outcomes, and how far their promises are from the truth."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

ISOTONIC_LEAST = 50
"""Of the rarer outcome; below, isotonic regression follows single outcomes: two parameters generalise better."""


@dataclass(frozen=True)
class Calibrator:
    """A non-decreasing map from score to probability: linear between knots, or a logistic curve.

    Attributes:
        method: ``isotonic`` (the knots are used) or ``platt`` (slope and intercept are used).
        scores: float64 (K,) ascending knots.
        probabilities: float64 (K,) non-decreasing, between 0 and 1.
        slope: at least 0.
        intercept: log odds at score 0.
    """

    method: Literal["isotonic", "platt"]
    scores: Values
    probabilities: Values
    slope: float = 0.0
    intercept: float = 0.0

    def __call__(self, scores: npt.NDArray[Any]) -> Values:
        """Probabilities, float64 of the shape of ``scores``."""
        if self.method == "isotonic":
            return np.asarray(np.interp(scores, self.scores, self.probabilities))
        logits = np.asarray(scores, np.float64) * self.slope + self.intercept
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))  # the sigmoid, without overflow

    def save(self, path: Path) -> None:
        """Write the map as JSON: no pickle, readable by anyone."""
        path.write_text(json.dumps(self.described()))

    @classmethod
    def load(cls, path: Path) -> "Calibrator":
        """Read what ``save`` wrote."""
        return cls.of(json.loads(path.read_text()))

    def described(self) -> dict[str, Any]:
        """The map as JSON has it."""
        return {
            "method": self.method,
            "scores": self.scores.tolist(),
            "probabilities": self.probabilities.tolist(),
            "slope": self.slope,
            "intercept": self.intercept,
        }

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "Calibrator":
        """The map that ``described`` describes."""
        return cls(
            described["method"],
            np.asarray(described["scores"], np.float64),
            np.asarray(described["probabilities"], np.float64),
            described["slope"],
            described["intercept"],
        )


def fit(
    scores: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    weights: npt.NDArray[Any] | None = None,
    method: Literal["auto", "isotonic", "platt"] = "auto",
) -> Calibrator:
    """Learn a calibrator.

    Isotonic regression (Zadrozny and Elkan, KDD 2002) with one pseudo-failure above the highest score and one
    pseudo-success below the lowest, so that a handful of lucky outcomes at an end never becomes a promise of 1 or 0; or
    Platt's logistic curve (1999) with his smoothed targets, where there are few successes, or few failures.

    Args:
        scores: (P,) what is to be calibrated.
        labels: (P,) outcomes, true or false.
        weights: (P,) how many real cases each one represents; 1 where unset.
        method: ``auto`` takes isotonic from 50 successes and 50 failures on.

    Raises:
        ValueError: if a score is not finite, or all outcomes are alike.
    """
    x, y = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if not bool(np.isfinite(x).all()):
        raise ValueError("scores must be finite numbers to be calibrated")
    if len(x) == 0 or y.min() == y.max():
        raise ValueError("calibration needs both outcomes, linked and not linked")
    if method == "isotonic" or (method == "auto" and min(y.sum(), len(y) - y.sum()) >= ISOTONIC_LEAST):
        return _isotonic(x, y, w)
    return _platt(x, y, w)


def _isotonic(x: Values, y: Values, w: Values) -> Calibrator:
    from sklearn.isotonic import IsotonicRegression

    x, y, w = np.append(x, [x.max(), x.min()]), np.append(y, [0.0, 1.0]), np.append(w, [1.0, 1.0])
    model = IsotonicRegression(y_min=0.0, y_max=1.0).fit(x, y, sample_weight=w)
    return Calibrator("isotonic", model.X_thresholds_.astype(np.float64), model.y_thresholds_.astype(np.float64))


def _platt(x: Values, y: Values, w: Values) -> Calibrator:
    """Newton's method on two parameters, after Lin, Lin and Weng, Machine Learning 68, 2007."""
    successes, failures = float(w[y > 0].sum()), float(w[y == 0].sum())
    target = np.where(y > 0, (successes + 1) / (successes + 2), 1 / (failures + 2))
    scale = max(float(x.std()), 1e-12)
    z = (x - x.mean()) / scale
    slope, intercept = 0.0, float(np.log((successes + 1) / (failures + 1)))

    def loss(a: float, b: float) -> float:
        logits = a * z + b
        return float((w * (np.logaddexp(0.0, logits) - target * logits)).sum())

    current = loss(slope, intercept)
    for _ in range(100):
        p = 0.5 * (1.0 + np.tanh(0.5 * (slope * z + intercept)))
        error, curvature = w * (p - target), w * p * (1 - p)
        gradient = np.array([(error * z).sum(), error.sum()])
        cross = (curvature * z).sum()
        hessian = np.array([[(curvature * z * z).sum(), cross], [cross, curvature.sum()]]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        length = 1.0
        while (found := loss(slope - length * step[0], intercept - length * step[1])) > current and length > 1e-6:
            length /= 2
        slope, intercept = slope - length * step[0], intercept - length * step[1]
        if current - found < 1e-9 * (1 + abs(current)):
            break
        current = found
    slope /= scale
    if slope <= 0:  # a score that runs against the outcomes is worth nothing, not its opposite
        return Calibrator("platt", np.empty(0), np.empty(0), 0.0, float(np.log((successes + 1) / (failures + 1))))
    return Calibrator("platt", np.empty(0), np.empty(0), float(slope), float(intercept - slope * x.mean()))


def brier(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], weights: npt.NDArray[Any] | None = None) -> float:
    """Mean squared error of probabilities (Brier, Monthly Weather Review, 1950); 0 is best.

    Args:
        probabilities: (P,).
        labels: (P,) outcomes, true or false.
        weights: (P,) how many real cases each one represents; 1 where unset.
    """
    errors = (np.asarray(probabilities, np.float64) - np.asarray(labels, np.float64)) ** 2
    return float(np.average(errors, weights=weights))


def reliability(
    probabilities: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    bins: int = 15,
    weights: npt.NDArray[Any] | None = None,
) -> list[dict[str, float]]:
    """What was promised and what came of it, in bins of about equally many cases.

    Equal counts, because link probabilities crowd near 0: bins of equal width would put all of them in one. Cases of
    equal probability stay together, or the order in which they came would decide what each bin observes.

    Args:
        probabilities: (P,).
        labels: (P,) outcomes, true or false.
        bins: most bins.
        weights: (P,) how many real cases each one represents; 1 where unset.

    Returns:
        For each bin ``promised`` (mean probability), ``observed`` (share of successes) and ``cases``, ascending.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    _, group = np.unique(p, return_inverse=True)
    counts = np.bincount(group, w)
    middle = np.cumsum(counts) - counts / 2
    bin_of = np.minimum(middle * bins / max(float(w.sum()), 1e-12), bins - 1).astype(np.int64)
    _, part = np.unique(bin_of[group], return_inverse=True)
    cases = np.bincount(part, w)
    promised, observed = np.bincount(part, w * p) / cases, np.bincount(part, w * y) / cases
    return [
        {"promised": float(promised[n]), "observed": float(observed[n]), "cases": round(float(cases[n]))}
        for n in range(len(cases))
    ]


def expected_calibration_error(
    probabilities: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    bins: int = 15,
    weights: npt.NDArray[Any] | None = None,
) -> float:
    """ECE (Naeini et al., AAAI 2015) over bins of equally many cases: mean gap between promised and observed."""
    table = reliability(probabilities, labels, bins, weights)
    cases = sum(row["cases"] for row in table)
    return float(sum(row["cases"] * abs(row["promised"] - row["observed"]) for row in table) / cases)
