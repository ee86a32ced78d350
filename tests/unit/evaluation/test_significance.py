"""Resampling: known distributions, symmetric answers, equal seeds."""

import numpy as np
import pytest
from scipy import stats

from evaluation import significance
from evaluation.significance import (
    bootstrap_interval,
    bootstrap_means,
    bootstrap_p_values,
    compare_systems,
    holm,
    paired_difference,
    randomisation_p_value,
)


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


def test_columns_share_their_resamples() -> None:
    values = np.random.default_rng(6).random((70, 3))
    means = bootstrap_means(values, 500, seed=3)
    assert means.shape == (500, 3)
    for column in range(3):
        np.testing.assert_allclose(means[:, column], bootstrap_means(values[:, [column]], 500, seed=3)[:, 0])
    np.testing.assert_allclose(bootstrap_means(values + 1.0, 500, seed=3), means + 1.0)


def test_the_bootstrap_test_agrees_with_the_t_test() -> None:
    rng = np.random.default_rng(7)
    differences = rng.normal(0.15, 1.0, (400, 1))
    p = bootstrap_p_values(bootstrap_means(differences, 20_000), differences.mean(axis=0))[0]
    assert p == pytest.approx(stats.ttest_1samp(differences[:, 0], 0.0).pvalue, rel=0.25)
    nothing = np.zeros((10, 1))
    assert bootstrap_p_values(bootstrap_means(nothing, 100), nothing.mean(axis=0))[0] == 1.0


def test_holm_by_hand() -> None:
    """The example of Holm's paper has the same steps: times 4, 3, 2, 1, and never below the one before."""
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    np.testing.assert_allclose(holm(np.array([0.02])), [0.02])


def test_every_pair_of_systems_is_compared_on_every_metric() -> None:
    rng = np.random.default_rng(8)
    base = rng.random(120)
    per_query = {
        "one": {"ndcg": base, "map": base / 2},
        "two": {"ndcg": base + rng.normal(0.05, 0.1, 120), "map": base / 2},
        "three": {"ndcg": base + rng.normal(0.0, 0.1, 120), "map": rng.random(120)},
    }
    intervals, rows = compare_systems(per_query, 1000)
    assert [(row["metric"], row["a"], row["b"]) for row in rows] == [
        (metric, a, b) for metric in ("ndcg", "map") for a, b in (("one", "two"), ("one", "three"), ("two", "three"))
    ]
    for system, of_system in per_query.items():
        for metric, values in of_system.items():
            assert intervals[system][metric] == pytest.approx(bootstrap_interval(values, 1000))
    for row in rows:
        a, b = per_query[row["a"]][row["metric"]], per_query[row["b"]][row["metric"]]
        assert row["difference"] == pytest.approx((a - b).mean())
        assert row["p_value"] == randomisation_p_value(a, b, 1000)
        alone = paired_difference(a, b, 1000)
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(
            (alone["difference_low"], alone["difference_high"])
        )
        assert row["p_value"] <= row["p_holm"] <= 1.0
    by_pair = {(row["metric"], row["a"], row["b"]): row for row in rows}
    assert by_pair["ndcg", "one", "two"]["p_holm"] == pytest.approx(3 / 1001)
    assert by_pair["map", "one", "two"]["p_value"] == by_pair["map", "one", "two"]["p_bootstrap"] == 1.0


def test_one_system_alone_has_intervals_and_no_rows() -> None:
    intervals, rows = compare_systems({"one": {"ndcg": np.linspace(0, 1, 50)}}, 200)
    assert rows == [] and intervals["one"]["ndcg"][0] < 0.5 < intervals["one"]["ndcg"][1]
