"""Whether a difference between two systems could be chance: intervals by bootstrap, tests by randomisation."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

CELLS_AT_ONCE = 4_000_000  # bounds the memory of a resampling: rounds are drawn in blocks of about this many values


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
    if len(values) == 0:
        raise ValueError("no values to resample")
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [
            values[rng.integers(0, len(values), (block, len(values)))].mean(axis=1)
            for block in _blocks(rounds, len(values))
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def randomisation_p_value(a: Values, b: Values, rounds: int = 10_000, seed: int = 0) -> float:
    """Two-sided paired randomisation test of equal means (Fisher; for retrieval: Smucker et al., CIKM 2007).

    Under the null hypothesis each pair's labels may be swapped, which flips the sign of its difference.

    Args:
        a: float64 (Q,) of one system.
        b: float64 (Q,) of the other, the same units in the same order.
        rounds: random sign vectors.
        seed: of the signs.

    Returns:
        (1 + rounds as extreme as the observed) / (1 + rounds): never 0, which no finite number of rounds could show.

    Raises:
        ValueError: if the lengths differ or nothing is given.
    """
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"paired values of equal length wanted, got {len(a)} and {len(b)}")
    differences = a - b
    observed = abs(differences.sum())
    tolerance = 1e-12 * max(1.0, float(np.abs(differences).sum()))  # sums in another order differ in their last bits
    rng = np.random.default_rng(seed)
    extreme = 0
    for block in _blocks(rounds, len(differences)):
        signs = rng.integers(0, 2, (block, len(differences)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ differences) >= observed - tolerance).sum())
    return (1 + extreme) / (1 + rounds)


def paired_difference(a: Values, b: Values, rounds: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Mean of a - b with its 95% bootstrap interval and the p-value of the randomisation test."""
    low, high = bootstrap_interval(a - b, rounds, seed)
    return {
        "difference": float((a - b).mean()),
        "difference_low": low,
        "difference_high": high,
        "p_value": randomisation_p_value(a, b, rounds, seed),
    }


def _blocks(rounds: int, width: int) -> Iterator[int]:
    size = max(1, CELLS_AT_ONCE // max(width, 1))
    for first in range(0, rounds, size):
        yield min(size, rounds - first)
