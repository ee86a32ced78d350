"""Rankers beside each other: figures of held-out intents, estimates from logged choices.

Shapes: Q intents, C capabilities, R rounds, K capabilities shown in a round.
"""

from typing import Any

import numpy as np

from data.capabilities.traces import Traces
from evaluation.capability_metrics import Score, answer, rounded
from evaluation.capability_split import Part
from evaluation.counterfactual import KINDS, Estimate, estimate
from evaluation.intent_calibration import IntentCalibrator
from evaluation.logged import Log, Refused
from training.ranking.experience import Experience, Floats, Mask, Numbers, Values
from training.ranking.outcomes import AT_ONCE, JUDGES, Basis, outcomes
from training.ranking.probabilities import told
from training.ranking.served import CapabilityRanker


def figures_of(
    score: Score, experience: Experience, calibrator: IntentCalibrator | None, basis: Basis
) -> dict[str, Any]:
    """Every metric of a ranker on the test intents, and where it is calibrated how far its promises are off."""
    answered = answer(score, experience.successes("test"), experience.catalogue.can_run)
    found = rounded(answered.means)
    if calibrator is not None:
        found |= told(calibrator, score, outcomes(score, experience, JUDGES, basis, answered))
    return found


def score_of(ranker: CapabilityRanker, experience: Experience) -> Score:
    """A ranker that may be of an older catalogue: what it does not know has minus infinity."""
    row_of = {id_: row for row, id_ in enumerate(ranker.capabilities)}
    rows = np.array([row_of.get(id_, -1) for id_ in experience.catalogue.capabilities], np.int64)
    known = (rows >= 0) & experience.catalogue.can_run
    keys = ranker.keys[rows]
    prior = ranker.prior(experience.past.now)

    def score(intents: Numbers) -> Floats:
        scores: Floats = np.asarray(ranker.queries(experience.intents[intents]) @ keys.T + prior, np.float32)
        scores[:, ~known] = -np.inf
        return scores

    return score


def logged_rounds(experience: Experience, part: Part = "test") -> tuple[Log, Numbers, Numbers]:
    """Rounds of a part as they were served, with the capabilities shown, int64 (R, K), and the intents, int64 (R,).

    Traces without propensities are no rounds: a request that asked for no exploration tells nothing of other orders.
    Where what was put first was passed over, the round is that of what was put first, which earned nothing: that is
    what was drawn with the propensities, and the choice of another one was the caller's. Leaving such rounds out, or
    taking the propensity of the choice, would bias every estimate, since what is passed over depends on what it is.
    """
    traces = experience.traces
    told = ~np.isnan(experience.reward) | traces.passed_over
    numbers = np.flatnonzero(experience.intents_in(part)[traces.intent] & told & _logged(traces))
    shown, propensities = experience.traces.shown.take(numbers), experience.traces.propensities.take(numbers)
    lengths = np.diff(shown.indptr)
    width = int(lengths.max(initial=1))
    there = np.arange(width) < lengths[:, None]
    shown_RK = np.full(there.shape, -1, np.int64)
    given_RK = np.full(there.shape, np.nan)
    shown_RK[there], given_RK[there] = shown.values, propensities.values
    place_R = (shown_RK == traces.chosen[numbers][:, None]).argmax(axis=1)
    over_R = traces.passed_over[numbers]
    log = Log(given_RK, there, np.where(over_R, 0, place_R), np.where(over_R, 0.0, experience.reward[numbers]))
    return log, shown_RK, traces.intent[numbers]


def _logged(traces: Traces) -> Mask:
    """Bool (N,): which traces have a propensity of anything that was shown."""
    owner = np.repeat(np.arange(len(traces)), np.diff(traces.propensities.indptr))
    return np.asarray(np.bincount(owner, ~np.isnan(traces.propensities.values), len(traces)) > 0)


def greedy(score: Score, shown_RK: Numbers, intents_R: Numbers) -> Values:
    """The policy that runs the best of what was shown, as probabilities, float64 (R, K)."""
    scores_RK = shown_scores(score, shown_RK, intents_R)
    policy = np.zeros(shown_RK.shape)
    policy[np.arange(len(policy)), scores_RK.argmax(axis=1)] = 1.0
    return policy


def shown_scores(score: Score, shown_RK: Numbers, intents_R: Numbers) -> Values:
    """Scores of what was shown, float64 (R, K); minus infinity where nothing was."""
    found = np.empty(shown_RK.shape)
    for start in range(0, len(intents_R), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        scores = np.asarray(score(intents_R[here]), np.float64)
        found[here] = np.take_along_axis(scores, np.maximum(shown_RK[here], 0), axis=1)
    return np.where(shown_RK >= 0, found, -np.inf)


def counterfactual(score: Score, calibrator: IntentCalibrator | None, experience: Experience) -> dict[str, Any]:
    """What the ranker would have earned in the logged rounds of the test intents, by each estimator, or why not.

    Returns:
        By estimator ``value``, ``low`` and ``high`` (95%), ``effective`` rounds and all ``rounds``, or ``refused`` in
        words.
    """
    log, shown_RK, intents_R = logged_rounds(experience)
    if not len(log):
        return {kind: {"refused": _without_rounds(experience)} for kind in KINDS}
    policy = greedy(score, shown_RK, intents_R)
    expected = None if calibrator is None else _expected(score, calibrator, shown_RK, intents_R)
    kinds = [kind for kind in KINDS if kind != "dr" or expected is not None]
    return {kind: _told(estimate(kind, log, policy, expected)) for kind in kinds}


def _without_rounds(experience: Experience) -> str:
    """Why no trace of a test intent is a round."""
    if not len(experience.traces_in("test")):
        return "no test intent has an outcome"
    logged = int(_logged(experience.traces).sum())
    if not logged:
        return "no propensities were logged"
    return f"of {logged:,} trace{'' if logged == 1 else 's'} with propensities none is of a test intent with an outcome"


def _expected(score: Score, calibrator: IntentCalibrator, shown_RK: Numbers, intents_R: Numbers) -> Values:
    """Probability of success of what was shown, float64 (R, K); 0 where nothing was."""
    found = np.zeros(shown_RK.shape)
    for start in range(0, len(intents_R), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        scores_RC = np.asarray(score(intents_R[here]), np.float64)
        scores_RK = np.take_along_axis(scores_RC, np.maximum(shown_RK[here], 0), axis=1)
        there_RK = (shown_RK[here] >= 0) & np.isfinite(scores_RK)
        promised_RK = calibrator(np.where(there_RK, scores_RK, 0.0), calibrator.levels(scores_RC)[:, None])
        found[here] = np.where(there_RK, promised_RK, 0.0)
    return found


def _told(one: Estimate | Refused) -> dict[str, Any]:
    if isinstance(one, Refused):
        return {"refused": one.message}
    ends = {} if one.interval is None else {"low": one.interval[0], "high": one.interval[1]}
    return rounded({"value": one.value, **ends, "effective": one.effective, "rounds": one.rounds})
