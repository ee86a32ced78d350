"""Parts by the hash of an intent, folds, and windows of time."""

import numpy as np
import pytest
from pydantic import ValidationError

from data.errors import InputError
from evaluation.capability_split import (
    DAY_US,
    PARTS,
    CapabilitySplit,
    folds_of,
    mean_and_deviation,
    parts_of,
    windows,
)

INTENTS = [f"please do {number}" for number in range(4000)]


def test_parts_have_their_shares_and_hold_as_intents_are_added() -> None:
    config = CapabilitySplit(valid=0.1, judge=0.15, test=0.2)
    parts = parts_of(INTENTS, config)
    shares = {part: float((parts == place).mean()) for place, part in enumerate(PARTS)}
    expected = {"train": 0.55, "valid": 0.1, "judge": 0.15, "test": 0.2}
    assert shares == pytest.approx(expected, abs=0.03)
    assert (parts_of([*INTENTS[:100], "new", *INTENTS[100:]], config)[:100] == parts[:100]).all()


def test_the_same_question_is_never_on_both_sides_and_any_script_is_split() -> None:
    config = CapabilitySplit()
    alike = ["What is  the weather?", "what is the weather?", "\twhat IS the weather?\n"]
    assert len(set(parts_of(alike, config))) == 1 and len(set(folds_of(alike, 7))) == 1
    assert len(parts_of(["מה מזג האוויר", "天气怎么样", ""], config)) == 3


def test_another_seed_splits_anew() -> None:
    first, second = (parts_of(INTENTS, CapabilitySplit(seed=seed)) for seed in (0, 1))
    assert 0.2 < (first != second).mean() < 0.8


def test_nothing_left_to_learn_from_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing is left to learn from"):
        CapabilitySplit(valid=0.4, judge=0.3, test=0.3)


def test_folds_are_about_equal_and_their_figures_have_a_deviation() -> None:
    counts = np.bincount(folds_of(INTENTS, 5))
    assert len(counts) == 5 and counts.min() > 700
    assert mean_and_deviation([0.5, 0.7]) == pytest.approx((0.6, 0.02**0.5))
    assert mean_and_deviation([0.5]) == (0.5, 0.0)


def test_windows_learn_before_they_judge_with_an_embargo_between() -> None:
    time = np.arange(60, dtype=np.int64) * DAY_US
    found = windows(time)
    assert len(found) == 5  # the last one judges by a day
    for window in found:
        assert len(window.train) == 30
        assert (window.test.min() - window.train.max()) == 2  # one day is left out
    assert len(found[0].test) == 7 and found[1].train[0] == 7


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (np.array([0, -1, DAY_US]), "the time of 1 of 3 traces is missing"),
        (np.empty(0, np.int64), "of 0 traces is missing"),
        (np.arange(5, dtype=np.int64) * DAY_US, "span 4.0 days; a window takes over 31"),
    ],
)
def test_windows_without_times_are_refused(time: np.ndarray, told: str) -> None:
    with pytest.raises(InputError, match=told):
        windows(time)
