"""Rounds that a log gives: whose choice a propensity is of, and what a caller's own choice is worth to an estimate."""

from dataclasses import replace

import numpy as np
import pytest

from data.capabilities.traces import Ragged
from evaluation.calibration import Calibrator
from evaluation.counterfactual import KINDS, Estimate, estimate
from evaluation.intent_calibration import IntentCalibrator
from evaluation.logged import Log
from tests.unit.training.ranking.conftest import made
from training.ranking.experience import Experience
from training.ranking.exploration import epsilon_greedy
from training.ranking.judging import counterfactual, logged_rounds
from training.ranking.task import weights_of

ROUNDS, SHOWN = 4000, 4
SUCCEEDS = np.array([0.2, 0.5, 0.6, 0.4])  # of what is run, by its number
ACCEPTED = np.array([0.3, 0.9, 0.5, 0.8])  # how often a caller runs it where it is put first


def served(seed: int = 0) -> Experience:
    """Rankings drawn by epsilon-greedy; where the caller passes over the first, it runs the one that follows."""
    rng = np.random.default_rng(seed)
    experience = made(count=ROUNDS, there=SHOWN)
    drawn = [epsilon_greedy(SHOWN, 0.4, rng) for _ in range(ROUNDS)]
    shown_RK = np.stack([one.order for one in drawn])
    propensity_RK = np.stack([one.propensities[one.order] for one in drawn])
    over_R = rng.random(ROUNDS) >= ACCEPTED[shown_RK[:, 0]]
    chosen_R = np.where(over_R, shown_RK[:, 1], shown_RK[:, 0])
    reward_R = (rng.random(ROUNDS) < SUCCEEDS[chosen_R]).astype(np.float64)
    indptr = np.arange(ROUNDS + 1) * SHOWN
    traces = replace(
        experience.traces,
        chosen=chosen_R,
        reward=reward_R,
        passed_over=over_R,
        shown=Ragged(indptr, shown_RK.ravel()),
        propensities=Ragged(indptr, propensity_RK.ravel()),
    )
    everyone = np.full_like(experience.part, 3)  # all of them are test intents
    return replace(experience, traces=traces, part=everyone, reward=reward_R)


@pytest.mark.parametrize("wanted", range(SHOWN))
def test_estimates_say_what_is_earned_by_what_is_put_first(wanted: int) -> None:
    log, shown_RK, _ = logged_rounds(served())
    assert len(log) == ROUNDS
    target_RK = (shown_RK == wanted).astype(np.float64)
    model_RK = SUCCEEDS[shown_RK]  # of what is run: too much of what is passed over
    truth = ACCEPTED[wanted] * SUCCEEDS[wanted]
    for kind in KINDS:
        found = estimate(kind, log, target_RK, model_RK)
        assert isinstance(found, Estimate), f"{kind}: {found}"
        assert found.value == pytest.approx(truth, abs=0.05)
        assert found.interval is None or found.interval[0] - 0.01 < truth < found.interval[1] + 0.01


def test_the_propensity_of_a_caller_s_own_choice_would_bias_them() -> None:
    """What was done before: the choice is taken as if it had been drawn. The check of the weights finds it."""
    experience = served()
    naive = replace(experience, traces=replace(experience.traces, passed_over=np.zeros(ROUNDS, bool)))
    log, shown_RK, _ = logged_rounds(naive)
    target_RK = (shown_RK == 1).astype(np.float64)
    weights_R = log.at_chosen(target_RK) / log.at_chosen(log.propensities_QK)
    assert abs(weights_R.mean() - 1) > 0.3
    assert not isinstance(estimate("ips", log, target_RK), Estimate)


def test_a_choice_that_was_not_drawn_has_no_propensity_and_weighs_as_the_mean() -> None:
    experience = served()
    over = experience.traces.passed_over
    assert np.isnan(experience.propensity[over]).all() and (experience.propensity[~over] > 0).all()
    assert (weights_of(experience, np.arange(ROUNDS), 10.0)[over] == 1.0).all()


def test_a_passed_over_round_counts_whatever_became_of_the_other_choice() -> None:
    experience = served()
    over = experience.traces.passed_over
    unknown = replace(experience, reward=np.where(over, np.nan, experience.reward))
    log, _, _ = logged_rounds(unknown)
    assert len(log) == ROUNDS and np.isfinite(log.rewards_Q).all() and (log.rewards_Q[over] == 0).all()


def test_traces_without_propensities_are_left_out_and_the_others_counted() -> None:
    experience = served()
    values = experience.traces.propensities.values.reshape(ROUNDS, SHOWN).copy()
    values[: ROUNDS // 2] = np.nan
    traces = experience.traces
    half = replace(experience, traces=replace(traces, propensities=Ragged(traces.shown.indptr, values.ravel())))
    log: Log = logged_rounds(half)[0]
    assert len(log) == ROUNDS // 2

    def score(intents: np.ndarray) -> np.ndarray:
        return np.tile(SUCCEEDS, (len(intents), 1))

    found = counterfactual(score, IntentCalibrator(Calibrator("platt", np.empty(0), np.empty(0), 1.0, 0.0)), half)
    assert {one["rounds"] for one in found.values()} == {ROUNDS // 2}
    unlogged = Ragged(traces.shown.indptr, np.full(values.size, np.nan))
    none = replace(experience, traces=replace(traces, propensities=unlogged))
    assert counterfactual(score, None, none)["ips"] == {"refused": "no propensities were logged"}
