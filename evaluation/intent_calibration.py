"""Scores of capabilities to probabilities of success, where a score means something only beside the others.

A softmax over capabilities says nothing of how high the scores of an intent are, only of how far they are apart: an
intent unlike all that was learned from may have low scores throughout, and a clear winner among them. A map of the
score alone promises too little there and too much elsewhere. What is calibrated is therefore the score less a share of
its intent's *level*, the soft maximum of all its scores. A share of 1 is the logarithm of a softmax with a temperature
(Guo et al., On Calibration of Modern Neural Networks, ICML 2017), a share of 0 the score alone; held-out outcomes
choose.

Shapes: Q intents, C capabilities, P pairs of an intent and a capability, T temperatures.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from evaluation.calibration import Calibrator, Values, brier
from evaluation.calibration import fit as fit_scores

Numbers = npt.NDArray[np.int64]

STEPS = tuple(range(-5, 4))  # temperatures that are tried: the spread of the best scores times two to the power of each
BEST = 10  # scores of an intent that the spread is of: what a ranker looks at no closer may have any score at all
SHARES = (0.0, 0.5, 1.0)
FOLDS = 2


@dataclass(frozen=True)
class IntentCalibrator:
    """From a score and the level of its intent to a probability; within an intent the order stays.

    Attributes:
        calibrator: of scores less a share of the level.
        share: of the level, 0 to 1.
        temperature: of the soft maximum, in units of the scores, above 0.
    """

    calibrator: Calibrator
    share: float = 0.0
    temperature: float = 1.0

    @property
    def fitted(self) -> bool:
        """Whether outcomes made it; ``NOT_CALIBRATED`` stands where there were none to learn from."""
        return (self.calibrator.described(), self.share) != (NOT_CALIBRATED.calibrator.described(), 0.0)

    def __call__(self, scores: npt.NDArray[Any], levels: npt.NDArray[Any] | float) -> Values:
        """Probabilities, float64 of the shape of ``scores``.

        Args:
            scores: finite.
            levels: of their intents, of a shape that goes with ``scores``.
        """
        return self.calibrator(np.asarray(scores, np.float64) - self.share * np.asarray(levels, np.float64))

    def levels(self, scores_QC: npt.NDArray[Any]) -> Values:
        """The level of each intent, float64 (Q,): temperature x log sum exp(score / temperature) over what can run.

        Args:
            scores_QC: of all capabilities, minus infinity for those that cannot run.
        """
        if not self.share:
            return np.zeros(len(scores_QC))
        return np.asarray(levels_at(scores_QC, np.array([self.temperature]))[0])

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        own = {"share": self.share, "temperature": self.temperature}
        path.write_text(json.dumps(self.calibrator.described() | own))

    @classmethod
    def load(cls, path: Path) -> "IntentCalibrator":
        """Read what ``save`` wrote; a file without a share is of the score alone."""
        described = json.loads(path.read_text())
        return cls(Calibrator.of(described), described.get("share", 0.0), described.get("temperature", 1.0))


NOT_CALIBRATED = IntentCalibrator(Calibrator("platt", np.empty(0), np.empty(0), 1.0, 0.0))


def levels_at(scores_QC: npt.NDArray[Any], temperatures_T: Values) -> Values:
    """Levels of intents by several temperatures, float64 (T, Q); 0 for one of which nothing can run."""
    if not scores_QC.shape[1]:
        return np.zeros((len(temperatures_T), len(scores_QC)))
    levels = [one * logsumexp(np.asarray(scores_QC, np.float64) / one, axis=1) for one in temperatures_T]
    return np.asarray(np.nan_to_num(np.stack(levels), neginf=0.0))


def temperatures_of(scores_QC: npt.NDArray[Any]) -> Values:
    """Temperatures to try, float64 (T,), by how far the best score of an intent is above the mean of the best ones."""
    best = -np.sort(-np.asarray(scores_QC, np.float64), axis=1)[:, :BEST]
    best = best[:, np.isfinite(best).all(axis=0)]
    spread = float((best[:, 0] - best.mean(axis=1)).mean()) if best.size else 0.0
    return np.asarray(max(spread, 1e-6) * 2.0 ** np.array(STEPS))


def fit(
    scores_P: Values, labels_P: npt.NDArray[Any], levels_TP: Values, temperatures_T: Values, intent_P: Numbers
) -> IntentCalibrator:
    """Learn the temperature, the share and the map.

    The temperature is the one by which a softmax finds what succeeded likeliest; the share the one of least Brier score
    on intents that did not fit the map.

    Args:
        scores_P: finite.
        labels_P: what came of each, true or false; both occur.
        levels_TP: of their intents, by each temperature.
        temperatures_T: that are tried.
        intent_P: number of the intent of each, by which halves are made.
    """
    good_P = np.asarray(labels_P, bool)
    loss_T = (levels_TP[:, good_P] - scores_P[good_P]).mean(axis=1) / temperatures_T
    best = int(np.argmin(loss_T))
    fold_P = np.unique(intent_P, return_inverse=True)[1] % FOLDS
    losses = [_held_out(scores_P - share * levels_TP[best], good_P, fold_P) for share in SHARES]
    share = SHARES[int(np.argmin(losses))]
    return IntentCalibrator(fit_scores(scores_P - share * levels_TP[best], good_P), share, float(temperatures_T[best]))


def _held_out(values_P: Values, good_P: npt.NDArray[np.bool_], fold_P: Numbers) -> float:
    """Brier score of values, each by a map of the other fold's; infinite where a fold has but one outcome."""
    promised_P = np.empty(len(values_P))
    for fold in range(FOLDS):
        held_P = fold_P == fold
        others = good_P[~held_P]
        if not len(others) or others.all() or not others.any():
            return np.inf
        promised_P[held_P] = fit_scores(values_P[~held_P], others)(values_P[held_P])
    return brier(promised_P, good_P)
