"""Whether a difference between systems could be chance: intervals by bootstrap, tests by randomisation and bootstrap.

Shapes: Q units (queries, links), M columns of values that share the units, B resamples.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

CELLS_AT_ONCE = 4_000_000  # bounds the memory of a resampling: rounds are drawn in blocks of about this many values


def bootstrap_means(values_QM: Values, rounds: int = 10_000, seed: int = 0) -> Values:
    """Means of resamples drawn with replacement, the same resamples for every column (Efron, 1979).

    A resample is drawn once and multiplied with all columns as counts of its units, so that columns cost little more
    than one, and differences of two columns' means are those of paired resamples.

    Args:
        values_QM: one row per independent unit.
        rounds: resamples.
        seed: of the drawing; equal seeds give equal resamples.

    Returns:
        float64 (B, M).

    Raises:
        ValueError: if there are no values.
    """
    units = len(values_QM)
    if units == 0:
        raise ValueError("no values to resample")
    rng = np.random.default_rng(seed)
    means = []
    for block in _blocks(rounds, units):
        drawn = rng.integers(0, units, (block, units))
        drawn += np.arange(block)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=block * units).reshape(block, units)
        means.append(counts.astype(np.float64) @ values_QM / units)
    return np.concatenate(means)


def bootstrap_interval(values: Values, rounds: int = 10_000, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron, Annals of Statistics, 1979).

    Args:
        values: float64 (Q,), one value per independent unit (query, link).
        rounds: resamples drawn with replacement.
        seed: of the drawing; equal seeds give equal intervals.
        level: share of the resampled means that lies inside.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: if there are no values.
    """
    low, high = _percentiles(bootstrap_means(values[:, None], rounds, seed), level)
    return float(low[0]), float(high[0])


def randomisation_p_values(differences_QM: Values, rounds: int = 10_000, seed: int = 0) -> Values:
    """Two-sided paired randomisation tests of a mean difference of 0 (Fisher; Smucker et al., CIKM 2007).

    Under the null hypothesis each pair's labels may be swapped, which flips the sign of its difference. The same random
    signs serve every column.

    Args:
        differences_QM: of paired values, a column for each test.
        rounds: random sign vectors.
        seed: of the signs.

    Returns:
        float64 (M,): (1 + rounds as extreme as the observed) / (1 + rounds), never 0, which no finite number of rounds
        could show.
    """
    observed_M = np.abs(differences_QM.sum(axis=0))
    least_M = observed_M - _tolerance(np.abs(differences_QM).sum(axis=0))
    rng = np.random.default_rng(seed)
    extreme_M = np.zeros(differences_QM.shape[1])
    for block in _blocks(rounds, len(differences_QM)):
        signs = rng.integers(0, 2, (block, len(differences_QM)), dtype=np.int8) * 2 - 1
        extreme_M += (np.abs(signs @ differences_QM) >= least_M).sum(axis=0)
    p_values: Values = (1 + extreme_M) / (1 + rounds)
    return p_values


def randomisation_p_value(a: Values, b: Values, rounds: int = 10_000, seed: int = 0) -> float:
    """The paired randomisation test of two systems.

    Args:
        a: float64 (Q,) of one system.
        b: float64 (Q,) of the other, the same units in the same order.
        rounds: random sign vectors.
        seed: of the signs.

    Raises:
        ValueError: if the lengths differ or nothing is given.
    """
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"paired values of equal length wanted, got {len(a)} and {len(b)}")
    return float(randomisation_p_values((a - b)[:, None], rounds, seed)[0])


def bootstrap_p_values(means_BM: Values, observed_M: Values) -> Values:
    """Two-sided bootstrap tests of a mean of 0, by the shift method (Smucker et al., CIKM 2007).

    The resampled means, shifted to the mean 0, are what chance gives.

    Args:
        means_BM: resampled means of ``bootstrap_means``.
        observed_M: the means themselves.

    Returns:
        float64 (M,), as of ``randomisation_p_values``.
    """
    least_M = np.abs(observed_M) - _tolerance(np.abs(observed_M))
    extreme_M = (np.abs(means_BM - observed_M) >= least_M).sum(axis=0)
    p_values: Values = (1 + extreme_M) / (1 + len(means_BM))
    return p_values


def holm(p_values: Values) -> Values:
    """P-values of a family of tests, corrected by Holm's step-down method (Scandinavian Journal of Statistics, 1979).

    Tests whose corrected value is below a level are significant together: the chance that one of them is a false
    finding is at most that level.

    Args:
        p_values: float64 (M,), of all tests of the family.
    """
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def paired_difference(a: Values, b: Values, rounds: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Mean of a - b with its 95% bootstrap interval and the p-value of the randomisation test."""
    low, high = bootstrap_interval(a - b, rounds, seed)
    return {
        "difference": float((a - b).mean()),
        "difference_low": low,
        "difference_high": high,
        "p_value": randomisation_p_value(a, b, rounds, seed),
    }


def compare_systems(
    per_query: Mapping[str, Mapping[str, Values]], rounds: int = 10_000, seed: int = 0
) -> tuple[dict[str, dict[str, tuple[float, float]]], list[dict[str, Any]]]:
    """Every figure with its interval, and every system tested against every other.

    Args:
        per_query: system -> metric -> float64 (Q,), of the same queries in the same order and the same metrics.
        rounds: of each resampling.
        seed: of the resamplings.

    Returns:
        System -> metric -> 95% interval of its mean; and a row for each metric and pair of systems: ``metric``, ``a``,
        ``b``, ``difference`` (mean of a - b) with ``difference_low`` and ``difference_high`` (95%), ``p_value``
        (randomisation), ``p_bootstrap``, and ``p_holm``: ``p_value`` corrected for all pairs of the metric.
    """
    systems = list(per_query)
    metrics = list(per_query[systems[0]])
    values_QMS = np.stack([np.stack([per_query[s][m] for s in systems], axis=1) for m in metrics], axis=1)
    count, shape = len(values_QMS), values_QMS.shape[1:]
    means_BMS = bootstrap_means(values_QMS.reshape(count, -1), rounds, seed).reshape(-1, *shape)
    low_MS, high_MS = _percentiles(means_BMS)
    intervals = {
        system: {metric: (float(low_MS[m, s]), float(high_MS[m, s])) for m, metric in enumerate(metrics)}
        for s, system in enumerate(systems)
    }
    pairs = list(combinations(range(len(systems)), 2))
    if not pairs:
        return intervals, []
    first, second = np.array(pairs).T
    differences_QMP = values_QMS[:, :, first] - values_QMS[:, :, second]
    observed_MP = differences_QMP.mean(axis=0)
    drawn_BMP = means_BMS[:, :, first] - means_BMS[:, :, second]
    low_MP, high_MP = _percentiles(drawn_BMP)
    by_chance_MP = randomisation_p_values(differences_QMP.reshape(count, -1), rounds, seed).reshape(observed_MP.shape)
    resampled_MP = bootstrap_p_values(drawn_BMP, observed_MP)
    corrected_MP = np.stack([holm(of_metric) for of_metric in by_chance_MP])
    figures = {
        "difference": observed_MP,
        "difference_low": low_MP,
        "difference_high": high_MP,
        "p_value": by_chance_MP,
        "p_bootstrap": resampled_MP,
        "p_holm": corrected_MP,
    }
    rows = [
        {"metric": metric, "a": systems[a], "b": systems[b], **{key: float(of[m, p]) for key, of in figures.items()}}
        for m, metric in enumerate(metrics)
        for p, (a, b) in enumerate(pairs)
    ]
    return intervals, rows


def _percentiles(means: Values, level: float = 0.95) -> tuple[Values, Values]:
    """Ends of the interval in which that share of the resampled means lies, by column."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _tolerance(size: Values) -> Values:
    """Sums in another order differ in their last bits."""
    allowed: Values = 1e-12 * np.maximum(1.0, size)
    return allowed


def _blocks(rounds: int, width: int) -> Iterator[int]:
    size = max(1, CELLS_AT_ONCE // max(width, 1))
    for first in range(0, rounds, size):
        yield min(size, rounds - first)
