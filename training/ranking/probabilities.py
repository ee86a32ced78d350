"""Probabilities of success that go with a ranker's scores: fitted on held-out intents, judged on others.

Shapes: Q intents, C capabilities, P pairs of an intent and a capability, T temperatures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.calibration import brier, expected_calibration_error, reliability
from evaluation.capability_metrics import Answered, Score, answer, rounded
from evaluation.capability_split import Part
from evaluation.intent_calibration import IntentCalibrator, fit, levels_at, temperatures_of
from training.ranking.experience import Experience, Floats, Mask, Numbers, Values

AT_ONCE = 4096
SAMPLED = 512  # intents whose scores say which temperatures are tried
RAW = np.ones(1)  # temperature of what scores promise by themselves


@dataclass(frozen=True)
class Outcomes:
    """Scores of held-out intents, and what became of them.

    Attributes:
        scores_P: float64, finite.
        labels_P: bool, whether it was a success.
        intent_P: int64, number of the intent.
        first_P: bool, whether it is the best of its intent; all are, where failures are known and what was run counts.
    """

    scores_P: Values
    labels_P: Mask
    intent_P: Numbers
    first_P: Mask

    @property
    def alike(self) -> bool:
        """Whether nothing can be calibrated: there is none, or all came out alike."""
        return not len(self.labels_P) or bool(self.labels_P.all()) or not self.labels_P.any()


def outcomes(
    score: Score, experience: Experience, parts: tuple[Part, ...], answered: Answered | None = None
) -> Outcomes:
    """Outcomes of the intents of some parts.

    Where failures are known, of what was run. Where only successes are, of the first places of each intent: what was
    never run for it counts as a failure.

    Args:
        score: of the ranker.
        experience: traces and their parts.
        parts: whose intents count.
        answered: of the same intents, where it was computed before.
    """
    if experience.known_failures:
        numbers = experience.traces_in(*parts)
        intent_N = experience.traces.intent[numbers]
        scores = at_chosen(score, intent_N, experience.traces.chosen[numbers])
        there = np.isfinite(scores)
        good = experience.reward[numbers] >= 0.5
        return Outcomes(scores[there], good[there], intent_N[there], np.ones(int(there.sum()), bool))
    successes = experience.successes(*parts)
    if not len(successes):
        return Outcomes(np.empty(0), np.empty(0, bool), np.empty(0, np.int64), np.empty(0, bool))
    found = answered or answer(score, successes, experience.catalogue.can_run)
    there = np.isfinite(found.top_scores)
    first = np.broadcast_to(np.arange(there.shape[1]) == 0, there.shape)
    intents = np.broadcast_to(successes.intents[:, None], there.shape)
    return Outcomes(found.top_scores[there], found.top_hits[there], intents[there], first[there])


def calibrated(
    score: Score, experience: Experience, parts: tuple[Part, ...] = ("valid", "judge")
) -> IntentCalibrator | None:
    """From scores to the probability of success, by held-out intents; None where all of them came out alike."""
    found = outcomes(score, experience, parts)
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
    score: Score, experience: Experience, calibrator: IntentCalibrator
) -> dict[str, list[dict[str, float]]]:
    """What first places of the test intents promise and what came of them, by bins: ``before`` calibration, ``after``.

    None where all outcomes are alike.
    """
    found = outcomes(score, experience, ("test",))
    labels_P = found.labels_P[found.first_P]
    if not len(labels_P) or labels_P.all() or not labels_P.any():
        return {}
    both = {"before": promised_raw(score, found), "after": promised(calibrator, score, found)}
    return {name: reliability(of_P[found.first_P], labels_P) for name, of_P in both.items()}


def at_chosen(score: Score, intents_P: Numbers, chosen_P: Numbers) -> Values:
    """Scores of pairs, float64 (P,), block by block."""
    found = np.empty(len(intents_P))
    for start in range(0, len(intents_P), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        found[here] = np.take_along_axis(np.asarray(score(intents_P[here])), chosen_P[here, None], axis=1)[:, 0]
    return found


def _by_blocks(of: Callable[[Floats], Values], score: Score, intents: Numbers) -> Values:
    """What a function makes of the scores of intents, block by block; its rows are intents."""
    blocks = [intents[start : start + AT_ONCE] for start in range(0, len(intents), AT_ONCE)]
    made: list[Any] = [of(np.asarray(score(block))) for block in blocks]
    return np.concatenate(made) if made else np.empty(0)
