"""Calibrators recover known probabilities, stay monotone, never promise certainty, and survive a round trip."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evaluation.calibration import Calibrator, brier, expected_calibration_error, fit, reliability


def drawn(count: int, seed: int, slope: float = 1.5, intercept: float = -2.0) -> tuple[np.ndarray, ...]:
    """Scores, outcomes and the true probabilities they were drawn with."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, count)
    truth = 1 / (1 + np.exp(-(slope * scores + intercept)))
    return scores, rng.random(count) < truth, truth


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_recovers_the_probabilities_that_outcomes_were_drawn_with(method: str) -> None:
    scores, labels, _ = drawn(20_000, seed=0)
    calibrator = fit(scores, labels, method=method)  # type: ignore[arg-type]
    scores, labels, truth = drawn(20_000, seed=1)
    found = calibrator(scores)
    assert np.abs(found - truth).mean() < 0.02
    assert expected_calibration_error(found, labels) < 0.015
    assert brier(found, labels) < brier(np.full(len(labels), labels.mean()), labels)


def test_platt_equals_unregularised_logistic_regression_on_many_cases() -> None:
    scores, labels, _ = drawn(5000, seed=2)
    ours = fit(scores, labels, method="platt")
    theirs = LogisticRegression(C=np.inf).fit(scores[:, None], labels)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=0.02)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], rel=0.02)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_monotone_and_never_certain(method: str) -> None:
    scores = np.arange(10.0)
    calibrator = fit(scores, scores >= 5, method=method)  # type: ignore[arg-type]
    found = calibrator(np.linspace(-100, 109, 500))
    assert (np.diff(found) >= 0).all()
    if method == "isotonic":
        assert found.min() == pytest.approx(1 / 6)  # five failures and the pseudo-success
        assert found.max() == pytest.approx(5 / 6)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_weight_stands_for_that_many_cases(method: str) -> None:
    scores, labels, _ = drawn(3000, seed=3)
    weights = np.where(labels, 1, 4)
    repeated = np.repeat(np.arange(3000), weights)
    grid = np.linspace(-4, 4, 50)
    weighted = fit(scores, labels, weights, method=method)  # type: ignore[arg-type]
    plain = fit(scores[repeated], labels[repeated], method=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(weighted(grid), plain(grid), atol=1e-4)


def test_a_score_that_runs_against_the_outcomes_is_worth_nothing() -> None:
    scores, labels, _ = drawn(1000, seed=4)
    found = fit(-scores, labels, method="platt")(scores)
    assert np.ptp(found) == 0
    assert found[0] == pytest.approx(labels.mean(), abs=0.01)


def test_few_successes_take_the_logistic_curve() -> None:
    scores, labels, _ = drawn(100, seed=5)
    assert fit(scores, labels).method == "platt"
    scores, labels, _ = drawn(5000, seed=5)
    assert fit(scores, labels).method == "isotonic"


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_saved_and_loaded_it_is_the_same(method: str, tmp_path: Path) -> None:
    scores, labels, _ = drawn(500, seed=6)
    calibrator = fit(scores, labels, method=method)  # type: ignore[arg-type]
    calibrator.save(tmp_path / "calibrator.json")
    np.testing.assert_array_equal(Calibrator.load(tmp_path / "calibrator.json")(scores), calibrator(scores))


def test_one_outcome_only_and_infinite_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="both outcomes"):
        fit(np.arange(3.0), np.ones(3))
    with pytest.raises(ValueError, match="finite"):
        fit(np.array([1.0, np.inf]), np.array([0, 1]))


def test_reliability_and_error_of_a_known_case() -> None:
    probabilities = np.repeat([0.1, 0.9], 50)
    labels = np.concatenate([np.repeat([1, 0], [10, 40]), np.repeat([1, 0], [45, 5])])
    table = reliability(probabilities, labels, bins=2)
    assert [row["observed"] for row in table] == [0.2, 0.9]
    assert [row["cases"] for row in table] == [50, 50]
    assert expected_calibration_error(probabilities, labels, bins=2) == pytest.approx(0.05)
    assert brier(np.array([0.0, 1.0]), np.array([0, 1])) == 0.0


def test_cases_of_equal_probability_stay_together() -> None:
    """Whatever their order: successes first would else look like bins of nothing but successes."""
    probabilities = np.array([0.25] * 40 + [0.75] * 40)
    labels = np.array(([1] * 10 + [0] * 30) + ([1] * 30 + [0] * 10))
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0)
    assert [row["cases"] for row in reliability(probabilities, labels)] == [40, 40]
    assert [row["cases"] for row in reliability(np.arange(30) / 30, np.ones(30))] == [2] * 15
    assert reliability(np.empty(0), np.empty(0)) == []
