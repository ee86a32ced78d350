"""Probabilities that know the level of their intent: true for intents unlike the others, in the order of the scores."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from evaluation.calibration import Calibrator, expected_calibration_error
from evaluation.calibration import fit as fit_scores
from evaluation.intent_calibration import SHARES, IntentCalibrator, fit, levels_at, temperatures_of

INTENTS, CAPABILITIES = 3000, 12


def scored(shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of intents, half of them lower by ``shift``, and the capability that is right, drawn by their softmax."""
    rng = np.random.default_rng(seed)
    scores = 2 * rng.normal(size=(INTENTS, CAPABILITIES))
    drawn = (rng.random(INTENTS)[:, None] >= np.cumsum(softmax(scores, axis=1), axis=1)).sum(axis=1)
    scores[::2] -= shift
    return scores, np.minimum(drawn, CAPABILITIES - 1)


def fitted(scores: np.ndarray, right: np.ndarray) -> IntentCalibrator:
    labels = np.arange(CAPABILITIES) == right[:, None]
    temperatures = temperatures_of(scores)
    levels = np.repeat(levels_at(scores, temperatures), CAPABILITIES, axis=1)
    intents = np.repeat(np.arange(INTENTS), CAPABILITIES)
    return fit(scores.ravel(), labels.ravel(), levels, temperatures, intents)


def test_intents_with_low_scores_throughout_are_promised_what_comes_of_them() -> None:
    made = fitted(*scored(shift=6.0))
    assert made.share == 1.0
    scores, right = scored(shift=6.0, seed=1)
    best = scores.argmax(axis=1)
    first, hit = scores.max(axis=1), best == right
    promised = made(first, made.levels(scores))
    labels = np.arange(CAPABILITIES) == right[:, None]
    alone = fit_scores(scores.ravel(), labels.ravel())(first)
    low = np.arange(INTENTS) % 2 == 0
    for half in (low, ~low):
        assert expected_calibration_error(promised[half], hit[half]) < 0.07
        assert abs(promised[half].mean() - hit[half].mean()) < 0.04
        assert abs(alone[half].mean() - hit[half].mean()) > 0.1, "the score alone is wrong of both halves"


def test_where_the_score_alone_says_it_the_level_is_left_out() -> None:
    """Each capability succeeds by itself, whatever the others are: their level is noise."""
    rng = np.random.default_rng(0)
    scores = np.where(rng.random((INTENTS, CAPABILITIES)) < 0.5, rng.normal(size=(INTENTS, CAPABILITIES)) * 3, -9.0)
    labels = rng.random(scores.shape) < 1 / (1 + np.exp(-scores))
    temperatures = temperatures_of(scores)
    levels = np.repeat(levels_at(scores, temperatures), CAPABILITIES, axis=1)
    made = fit(scores.ravel(), labels.ravel(), levels, temperatures, np.repeat(np.arange(INTENTS), CAPABILITIES))
    assert made.share == 0.0 and (made.levels(scores) == 0).all()


def test_within_an_intent_the_order_stays() -> None:
    scores, right = scored(shift=2.0)
    made = fitted(scores, right)
    for row, level in zip(scores[:50], made.levels(scores[:50]), strict=True):
        assert (np.diff(made(np.sort(row), level)) >= 0).all()


def test_levels_leave_out_what_cannot_run_and_an_empty_catalogue_has_none() -> None:
    scores = np.array([[1.0, -np.inf, 3.0], [-np.inf] * 3])
    levels = levels_at(scores, np.array([1.0, 2.0]))
    expected = [np.log(np.exp(1) + np.exp(3)), 2 * np.log(np.exp(0.5) + np.exp(1.5))]
    np.testing.assert_allclose(levels[:, 0], expected)
    assert (levels[:, 1] == 0).all()
    assert levels_at(np.empty((2, 0)), np.ones(1)).tolist() == [[0.0, 0.0]]


def test_one_capability_alone_has_its_score_as_level() -> None:
    scores = np.array([[0.3], [0.7]])
    np.testing.assert_allclose(levels_at(scores, temperatures_of(scores))[-1], scores[:, 0], atol=1e-9)


@pytest.mark.parametrize("share", SHARES)
def test_what_is_read_promises_as_what_was_written(tmp_path: Path, share: float) -> None:
    made = IntentCalibrator(Calibrator("platt", np.empty(0), np.empty(0), 2.0, -1.0), share, 0.5)
    made.save(tmp_path / "calibrator.json")
    read = IntentCalibrator.load(tmp_path / "calibrator.json")
    scores, _ = scored(shift=1.0)
    of_read, of_made = (one(scores, one.levels(scores)[:, None]) for one in (read, made))
    np.testing.assert_array_equal(of_read, of_made)


def test_a_calibrator_that_was_written_without_a_share_is_of_the_score_alone(tmp_path: Path) -> None:
    plain = Calibrator("platt", np.empty(0), np.empty(0), 2.0, -1.0)
    plain.save(tmp_path / "calibrator.json")
    read = IntentCalibrator.load(tmp_path / "calibrator.json")
    np.testing.assert_array_equal(read(np.arange(3.0), 7.0), plain(np.arange(3.0)))
