"""Probabilities of success that go with a ranker's scores: fitted on held-out intents, judged on others.

Shapes: Q intents, C capabilities, P pairs of an intent and a capability, T temperatures.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from evaluation.calibration import brier, expected_calibration_error, reliability
from evaluation.capability_metrics import Score, rounded
from evaluation.intent_calibration import IntentCalibrator, fit, levels_at, temperatures_of
from training.ranking.experience import Experience, Floats, Numbers, Values
from training.ranking.outcomes import AT_ONCE, CALIBRATES, JUDGES, Basis, Outcomes, outcomes

SAMPLED = 512  # intents whose scores say which temperatures are tried
RAW = np.ones(1)  # temperature of what scores promise by themselves


def calibrated(score: Score, experience: Experience, basis: Basis) -> IntentCalibrator | None:
    """From scores to the probability of success, by held-out intents; None where all of them came out alike."""
    found = outcomes(score, experience, CALIBRATES, basis)
    if found.alike:
        return None
    intents, place_P = np.unique(found.intent_P, return_inverse=True)
    temperatures_T = temperatures_of(np.asarray(score(intents[:SAMPLED])))
    levels_TQ = _by_blocks(lambda scores_QC: levels_at(scores_QC, temperatures_T).T, score, intents).T
    return fit(found.scores_P, found.labels_P, levels_TQ[:, place_P], temperatures_T, found.intent_P)


def promised(calibrator: IntentCalibrator, score: Score, found: Outcomes) -> Values:
    """The probability of each outcome to be a success, float64 (P,)."""
    intents, place_P = np.unique(found.intent_P, return_inverse=True)
    return calibrator(found.scores_P, _by_blocks(calibrator.levels, score, intents)[place_P])


def promised_raw(score: Score, found: Outcomes) -> Values:
    """What scores promise before anything is calibrated: a softmax of them, float64 (P,)."""
    intents, place_P = np.unique(found.intent_P, return_inverse=True)
    levels_Q = _by_blocks(lambda scores_QC: levels_at(scores_QC, RAW)[0], score, intents)
    return np.exp(found.scores_P - levels_Q[place_P])


def told(calibrator: IntentCalibrator, score: Score, found: Outcomes) -> dict[str, float]:
    """How far promises are from what came: ``ece``, ``brier``, and of first places ``ece@1`` and ``ece@1_raw``.

    Of first places, because most others are failures that are easy to tell, and hide what is wrong with the first. With
    ``raw`` it is that of scores before calibration.
    """
    after_P, before_P, first_P = promised(calibrator, score, found), promised_raw(score, found), found.first_P
    figures = {
        "ece": expected_calibration_error(after_P, found.labels_P),
        "brier": brier(after_P, found.labels_P),
        "ece@1": expected_calibration_error(after_P[first_P], found.labels_P[first_P]),
        "ece@1_raw": expected_calibration_error(before_P[first_P], found.labels_P[first_P]),
    }
    return rounded(figures)


def reliability_of(
    score: Score, experience: Experience, calibrator: IntentCalibrator | None, basis: Basis
) -> dict[str, list[dict[str, float]]]:
    """What was promised to the test intents and what came of it, by bins: ``before`` calibration, ``after``.

    Of first places, or of what was run where that counts; empty without a calibrator.
    """
    if calibrator is None:
        return {}
    found = outcomes(score, experience, JUDGES, basis)
    labels_P = found.labels_P[found.first_P]
    both = {"before": promised_raw(score, found), "after": promised(calibrator, score, found)}
    return {name: reliability(of_P[found.first_P], labels_P) for name, of_P in both.items()}


def _by_blocks(of: Callable[[Floats], Values], score: Score, intents: Numbers) -> Values:
    """What a function makes of the scores of intents, block by block; its rows are intents."""
    blocks = [intents[start : start + AT_ONCE] for start in range(0, len(intents), AT_ONCE)]
    made: list[Any] = [of(np.asarray(score(block))) for block in blocks]
    return np.concatenate(made) if made else np.empty(0)
