"""Propensities are those of a simulation, of a closed form where there is one, and sum to 1."""

import numpy as np
import pytest
from scipy.special import ndtr

from training.ranking.exploration import as_ranked, epsilon_greedy, first_propensities, thompson

DRAWS = 200_000


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_epsilon_puts_each_first_as_often_as_it_says(count: int, epsilon: float) -> None:
    rng = np.random.default_rng(0)
    drawn = [epsilon_greedy(count, epsilon, rng) for _ in range(20_000)]
    first = np.bincount([one.order[0] for one in drawn], minlength=count) / len(drawn)
    assert drawn[0].propensities.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(first, drawn[0].propensities, atol=0.012)
    assert all(sorted(one.order.tolist()) == list(range(count)) for one in drawn[:50])


def test_of_two_it_is_the_normal_distribution_of_their_difference() -> None:
    found = first_propensities(np.array([0.3, -0.4]), np.array([0.5, 0.2]))
    expected = ndtr(0.7 / np.hypot(0.5, 0.2))
    np.testing.assert_allclose(found, [expected, 1 - expected], atol=1e-12)


def test_equal_ones_have_equal_chances() -> None:
    np.testing.assert_allclose(first_propensities(np.full(50, 2.0), np.full(50, 0.3)), np.full(50, 0.02), atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_thompson_puts_each_first_as_often_as_it_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 12))
    means, deviations = rng.normal(0, 0.6, count), rng.uniform(0.15, 0.6, count)
    draws = rng.normal(means, deviations, (DRAWS, count))
    simulated = np.bincount(draws.argmax(axis=1), minlength=count) / DRAWS
    found = first_propensities(means, deviations)
    error = 5 * np.sqrt(found * (1 - found) / DRAWS) + 1e-5
    assert found.sum() == pytest.approx(1.0) and (np.abs(found - simulated) < error).all()


def test_a_finer_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    means, deviations = rng.normal(0, 2, 100), rng.uniform(0.125, 0.5, 100)
    coarse = first_propensities(means, deviations)
    monkeypatch.setattr("training.ranking.exploration.STEP", 0.02)
    np.testing.assert_allclose(coarse, first_propensities(means, deviations), atol=1e-12)


def test_what_ran_often_is_drawn_with_less_noise_and_never_without() -> None:
    rng, probabilities = np.random.default_rng(0), np.array([0.6, 0.5])
    new, old, very_old = (
        thompson(probabilities, None if runs is None else np.full(2, runs), 1.0, 0.0, rng).propensities[1]
        for runs in (None, 8.0, 1e9)
    )
    assert new > old > very_old > 0.01


def test_thompson_draws_with_the_propensities_that_it_logs() -> None:
    rng, probabilities, runs = np.random.default_rng(1), np.array([0.7, 0.6, 0.2]), np.array([0.0, 3.0, 0.0])
    drawn = [thompson(probabilities, runs, 0.5, 0.0, rng) for _ in range(5000)]
    first = np.bincount([one.order[0] for one in drawn], minlength=3) / len(drawn)
    np.testing.assert_allclose(first, drawn[0].propensities, atol=0.03)
    assert any(one.explored for one in drawn)


@pytest.mark.parametrize(
    "probabilities", [[0.985, 0.0009, 0.0008, 0.0001], [0.7, 0.65, 0.2], [0.5, 0.5], [1.0, 0.0, 0.0], [0.9]]
)
def test_thompson_keeps_a_chance_for_all_and_draws_by_the_propensities_that_it_logs(probabilities: list[float]) -> None:
    """Also where the ranker is so sure that of draws alone the others have a probability of 0 in 64 bits."""
    rng, count, epsilon, draws = np.random.default_rng(2), len(probabilities), 0.2, 20_000
    runs = np.arange(count).astype(np.float64) * 3
    drawn = [thompson(np.array(probabilities), runs, 0.5, epsilon, rng) for _ in range(draws)]
    logged = drawn[0].propensities
    assert logged.sum() == pytest.approx(1.0, abs=1e-12) and logged.max() <= 1.0
    assert (logged >= epsilon / count - 1e-15).all()
    first = np.bincount([one.order[0] for one in drawn], minlength=count) / draws
    assert (np.abs(first - logged) <= 4 * np.sqrt(logged * (1 - logged) / draws)).all()
    assert all(sorted(one.order.tolist()) == list(range(count)) for one in drawn[:200])


def test_where_a_place_is_put_first_the_others_stay_as_they_were_drawn() -> None:
    rng, sure = np.random.default_rng(3), np.array([0.999, 0.5, 0.001])
    orders = {tuple(thompson(sure, None, 0.1, 1.0, rng).order.tolist()) for _ in range(200)}
    assert orders == {(0, 1, 2), (1, 0, 2), (2, 0, 1)}


def test_without_exploration_the_best_is_first_for_certain() -> None:
    drawn = as_ranked(3)
    assert drawn.order.tolist() == [0, 1, 2] and drawn.propensities.tolist() == [1, 0, 0] and not drawn.explored


@pytest.mark.parametrize("draw", [as_ranked(0), epsilon_greedy(0, 0.1, np.random.default_rng(0))])
def test_nothing_can_be_shown(draw: object) -> None:
    assert len(draw.order) == 0 and len(draw.propensities) == 0 and not draw.explored  # type: ignore[attr-defined]


def test_thompson_of_nothing_and_of_one() -> None:
    rng = np.random.default_rng(0)
    assert thompson(np.zeros(0), None, 0.5, 0.1, rng).order.tolist() == []
    one = thompson(np.array([1.0]), None, 0.5, 0.1, rng)
    assert one.propensities.tolist() == [1.0]  # certain, and finite all the same
