"""Estimates of another policy: by hand on few rounds, and refused with a reason where the log cannot be right."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.counterfactual import KINDS, Estimate, Kind, estimate, ratio_interval
from evaluation.logged import LEAST_ROUNDS, Log, Refused, effective_size

HALVES = np.array([0.5, 0.5])


def log_of(rounds: int = 200, seed: int = 0) -> Log:
    """Two candidates; the first is chosen three times of four and succeeds in 20%, the other in 60%."""
    rng = np.random.default_rng(seed)
    chosen = (rng.random(rounds) >= 0.75).astype(np.int64)
    rewards = (rng.random(rounds) < np.array([0.2, 0.6])[chosen]).astype(np.float64)
    return Log(np.tile([0.75, 0.25], (rounds, 1)), np.ones((rounds, 2), bool), chosen, rewards)


def asked_for(log: Log, target: np.ndarray = HALVES) -> np.ndarray:
    return np.tile(target, (len(log), 1))


def value(kind: Kind, log: Log, target: np.ndarray, model: np.ndarray | None = None) -> float:
    made = estimate(kind, log, target, model)
    assert isinstance(made, Estimate), made
    return made.value


def test_estimates_are_their_formulas() -> None:
    log = log_of()
    weights = np.where(log.chosen_Q == 0, 0.5 / 0.75, 0.5 / 0.25)
    model = np.tile([0.3, 0.5], (len(log), 1))
    by_hand = [
        0.5 * 0.3 + 0.5 * 0.5 + weight * (reward - (0.3 if chosen == 0 else 0.5))
        for weight, reward, chosen in zip(weights, log.rewards_Q, log.chosen_Q, strict=True)
    ]
    assert value("ips", log, asked_for(log)) == pytest.approx(np.mean(weights * log.rewards_Q))
    assert value("snips", log, asked_for(log)) == pytest.approx(np.average(log.rewards_Q, weights=weights))
    assert value("dr", log, asked_for(log), model) == pytest.approx(np.mean(by_hand))


def test_the_policy_that_was_served_earns_what_it_earned() -> None:
    log = log_of()
    for kind in KINDS:
        model = np.full((len(log), 2), 0.4)
        made = value(kind, log, log.propensities_QK, model)
        assert made == pytest.approx(log.rewards_Q.mean() if kind != "dr" else 0.4 + (log.rewards_Q - 0.4).mean())


def test_dr_has_no_error_left_where_its_model_is_right() -> None:
    log = log_of()
    log = replace(log, rewards_Q=np.array([0.2, 0.6])[log.chosen_Q])  # certain rewards
    made = estimate("dr", log, asked_for(log), np.tile([0.2, 0.6], (len(log), 1)))
    assert isinstance(made, Estimate) and made.value == pytest.approx(0.4)
    assert made.interval == pytest.approx((0.4, 0.4))


def test_weights_are_cut_at_the_root_of_the_number_of_rounds() -> None:
    log = log_of(10_000)
    chosen, propensities = log.chosen_Q.copy(), log.propensities_QK.copy()
    chosen[0], propensities[0] = 1, [0.996, 0.004]  # of weight 125, above 100
    log = replace(log, chosen_Q=chosen, propensities_QK=propensities, rewards_Q=np.ones(10_000))
    made = estimate("clipped_ips", log, asked_for(log))
    assert isinstance(made, Estimate) and made.interval is None and made.clipped == 1 / 10_000
    assert value("ips", log, asked_for(log)) - made.value == pytest.approx(25 / 10_000)


def test_candidates_that_fill_up_a_round_count_for_nothing() -> None:
    log = log_of()
    wide = replace(
        log,
        propensities_QK=np.column_stack([log.propensities_QK, np.full(len(log), np.nan)]),
        shown_QK=np.column_stack([log.shown_QK, np.zeros(len(log), bool)]),
    )
    target = np.column_stack([asked_for(log), np.full(len(log), 7.0)])
    model = np.column_stack([np.full((len(log), 2), 0.3), np.full(len(log), np.nan)])
    for kind in KINDS:
        assert estimate(kind, wide, target, model) == estimate(kind, log, asked_for(log), model[:, :2])


def broken(**changed: object) -> Log:
    """A log of which the third round is changed."""
    log = log_of()
    parts = {name: getattr(log, name).copy() for name in ("propensities_QK", "shown_QK", "chosen_Q", "rewards_Q")}
    for name, now in changed.items():
        parts[name][2] = now
    return Log(**parts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("log", "reason", "said"),
    [
        (broken(propensities_QK=[0.75, np.nan]), "missing", "is missing in 1 of 200 rounds, first in round 2"),
        (broken(propensities_QK=[1.0, 0.0]), "not_positive", "0 or less"),
        (broken(propensities_QK=[1.2, -0.2]), "not_positive", "0 or less"),
        (broken(propensities_QK=[1.2, 0.1]), "above_one", "above 1"),
        (broken(propensities_QK=[0.5, 0.4]), "sum", "do not sum to 1"),
        (broken(shown_QK=[False, False]), "not_shown", "had not been shown"),
        (broken(rewards_Q=np.nan), "reward", "no finite number"),
        (log_of(LEAST_ROUNDS - 1), "too_few", "99 rounds; at least 100"),
    ],
)
def test_a_log_that_cannot_be_right_gives_no_number(kind: Kind, log: Log, reason: str, said: str) -> None:
    made = estimate(kind, log, asked_for(log), np.full((len(log), 2), 0.4))
    assert isinstance(made, Refused) and made.reason == reason
    assert said in made.message and str(made).startswith("none: ")


@pytest.mark.parametrize("target", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]])
def test_probabilities_that_are_none_are_refused(target: list[float]) -> None:
    log = log_of()
    made = estimate("ips", log, asked_for(log, np.array(target)))
    assert isinstance(made, Refused) and made.reason == "target"


def test_digits_that_a_log_does_not_keep_are_no_fault() -> None:
    log = broken(propensities_QK=[0.7499, 0.2499])
    assert isinstance(estimate("ips", log, asked_for(log)), Estimate)


def test_few_rounds_that_weigh_all_are_too_few() -> None:
    log = log_of()
    propensities, chosen = np.tile([0.999, 0.001], (len(log), 1)), np.zeros(len(log), np.int64)
    chosen[:3] = 1
    log = replace(log, propensities_QK=propensities, chosen_Q=chosen)
    made = estimate("snips", log, asked_for(log))
    assert isinstance(made, Refused) and made.reason == "effective"
    assert "200 rounds say as much as 0.8 of" in made.message


def test_a_policy_that_never_does_what_was_done_has_no_estimate() -> None:
    log = replace(log_of(), chosen_Q=np.zeros(200, np.int64))
    made = estimate("snips", log, asked_for(log, np.array([0.0, 1.0])))
    assert isinstance(made, Refused) and "say as much as 0.0" in made.message


@pytest.mark.parametrize("kind", KINDS)
def test_propensities_of_another_policy_are_found_out(kind: Kind) -> None:
    log = log_of(1000)
    wrong = replace(log, propensities_QK=log.propensities_QK[:, ::-1].copy())
    made = estimate(kind, wrong, asked_for(log), np.full((1000, 2), 0.4))
    assert isinstance(made, Refused) and made.reason == "weights"
    assert "propensities are wrong" in made.message and isinstance(estimate("ips", log, asked_for(log)), Estimate)


def test_effective_size_counts_equal_weights_whole() -> None:
    assert effective_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_size(np.array([1.0, 0.0, 0.0])) == 1.0


def test_dr_needs_a_model() -> None:
    log = log_of()
    with pytest.raises(ValueError, match="needs what a model expects"):
        estimate("dr", log, asked_for(log))


def test_an_interval_of_skewed_values_reaches_farther_up() -> None:
    values = np.random.default_rng(0).lognormal(0.0, 1.2, 200)
    low, high = ratio_interval(values, np.ones(200))
    assert low < values.mean() < high
    assert high - values.mean() > 1.3 * (values.mean() - low)
    assert ratio_interval(values, np.ones(200)) == (low, high)  # equal seeds, equal intervals


def test_the_interval_of_a_ratio_does_not_change_with_the_unit_of_its_weights() -> None:
    rng = np.random.default_rng(1)
    weights, rewards = rng.exponential(size=300), rng.random(300)
    one, other = ratio_interval(weights * rewards, weights), ratio_interval(10 * weights * rewards, 10 * weights)
    assert one == pytest.approx(other)


def test_an_estimate_is_a_cell_of_a_table() -> None:
    assert str(Estimate(0.25, (0.2, 0.31), 500, 120.0)) == "0.2500 (0.2000 to 0.3100)"
    assert str(Estimate(0.25, None, 500, 120.0)) == "0.2500"
