"""Resampling: known distributions, symmetric answers, equal seeds."""

import numpy as np
import pytest
from scipy import stats

from evaluation import significance
from evaluation.significance import bootstrap_interval, paired_difference, randomisation_p_value


def test_the_interval_agrees_with_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 2000)
    low, high = bootstrap_interval(values, 4000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_the_p_value_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(0.0, 1.0, 60)
    b = a + rng.normal(0.2, 1.0, 60)
    theirs = stats.permutation_test(
        (a, b), lambda x, y: (x - y).mean(), permutation_type="samples", n_resamples=20_000, rng=rng
    )
    assert randomisation_p_value(a, b, 20_000) == pytest.approx(theirs.pvalue, abs=0.015)


def test_equal_systems_are_not_told_apart() -> None:
    values = np.random.default_rng(2).random(50)
    assert randomisation_p_value(values, values.copy()) == 1.0


def test_under_the_null_small_p_values_are_as_rare_as_they_say() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=(300, 2, 30))
    found = [randomisation_p_value(a, b, 400, seed) <= 0.1 for seed, (a, b) in enumerate(drawn)]
    assert 0.05 < np.mean(found) < 0.16


def test_blocks_do_not_change_the_size_of_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).random(40)
    monkeypatch.setattr(significance, "CELLS_AT_ONCE", 100)
    assert randomisation_p_value(values, values - 1.0, 99) == pytest.approx(1 / 100)
    low, high = bootstrap_interval(values, 50)
    assert low < values.mean() < high


def test_the_difference_names_its_direction() -> None:
    a = np.random.default_rng(5).random(200)
    compared = paired_difference(a + 0.1, a)
    assert compared["difference"] == pytest.approx(0.1)
    assert compared["difference_low"] == pytest.approx(0.1)
    assert compared["p_value"] < 0.001
    assert compared == paired_difference(a + 0.1, a)


def test_unpaired_and_empty_values_are_refused() -> None:
    with pytest.raises(ValueError, match="equal length"):
        randomisation_p_value(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval(np.array([]))
