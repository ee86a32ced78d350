"""Estimators beside a known truth: no bias where none is claimed, and intervals that hold it as often as they say."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest

from evaluation.counterfactual import KINDS
from evaluation.simulated import (
    POLICIES,
    Judged,
    by_position,
    catalogue,
    epsilon_greedy,
    judge,
    served,
    softmax,
    true_value,
    uniform,
)

MADE = catalogue()


@cache
def judged() -> dict[tuple[str, str], Judged]:
    """Each estimator with each policy, over 300 logs of 500 rounds."""
    found = judge(MADE, partial(softmax, temperature=0.2), rounds=500, times=300, resamples=400)
    return {(one.policy, one.kind): one for one in found}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["ips", "snips", "dr"])
def test_intervals_hold_the_truth_as_often_as_they_say(policy: str, kind: str) -> None:
    found = judged()[policy, kind]
    assert found.coverage is not None and found.coverage >= 0.93
    assert found.refused == 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["ips", "snips", "dr"])
def test_estimates_are_right_on_average(policy: str, kind: str) -> None:
    found = judged()[policy, kind]
    assert abs(found.bias) < 3.5 * found.deviation / np.sqrt(300) + 0.002


def test_a_policy_that_logs_little_of_what_is_asked_about_makes_estimates_vary() -> None:
    found = judged()
    assert found["epsilon-greedy", "ips"].deviation > 1.3 * found["uniform", "ips"].deviation
    assert all(found[policy, "dr"].deviation < found[policy, "ips"].deviation for policy in POLICIES)


def test_cut_weights_make_estimates_lower_and_claim_no_interval() -> None:
    greedy = partial(epsilon_greedy, epsilon=0.01)
    found = {one.kind: one for one in judge(MADE, softmax, {"greedy": greedy}, rounds=4000, times=50, resamples=50)}
    cut, whole = found["clipped_ips"], found["ips"]
    assert cut.coverage is None and cut.bias < -0.01 and cut.deviation < whole.deviation


def test_a_log_that_has_nothing_of_what_is_asked_about_is_refused() -> None:
    """Most of these logs have the best item alone: all weights are alike, and six times too small."""
    certain = partial(epsilon_greedy, epsilon=0.001)
    for one in judge(MADE, uniform, {"certain": certain}, rounds=150, times=20, resamples=50):
        assert one.refused == 1.0 and one.coverage is None


@pytest.mark.parametrize("policy", [uniform, softmax, epsilon_greedy, by_position, partial(by_position, steepness=2.0)])
def test_policies_are_probabilities_that_log_what_they_say(policy: Callable[[np.ndarray], np.ndarray]) -> None:
    probabilities = policy(MADE.scores_XK)
    assert probabilities.min() > 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    log, contexts = served(MADE, probabilities, 60_000, np.random.default_rng(0))
    np.testing.assert_array_equal(log.propensities_QK, probabilities[contexts])
    chosen = np.bincount(log.chosen_Q, minlength=6) / len(log)
    np.testing.assert_allclose(chosen, probabilities.mean(axis=0), atol=0.01)
    assert log.rewards_Q.mean() == pytest.approx(true_value(MADE, probabilities), abs=0.01)


def test_by_position_the_second_place_has_half_of_the_first() -> None:
    assert by_position(np.array([[0.3, 0.9, 0.1]])) * 11 == pytest.approx(np.array([[3.0, 6.0, 2.0]]))


def test_all_kinds_are_judged() -> None:
    assert {kind for _, kind in judged()} == {*KINDS}
