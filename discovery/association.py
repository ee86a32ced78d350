"""How strongly things occur together: measures, intervals and corrections for testing many; all on arrays.

Sources: lift and conviction, Brin et al., SIGMOD 1997; leverage, Piatetsky-Shapiro, 1991; intervals, Wilson, JASA 1927;
false discovery rate, Benjamini and Hochberg, JRSS B 1995; family-wise error, Holm, 1979 (``evaluation.significance``).
"""

import numpy as np
import numpy.typing as npt
from scipy import special

Values = npt.NDArray[np.float64]
Z_95 = 1.959963984540054


def wilson_interval(successes: npt.ArrayLike, trials: npt.ArrayLike, z: float = Z_95) -> tuple[Values, Values]:
    """Ends of the interval of a share: within 0 and 1, and not empty at 0 successes.

    Args:
        successes: of each share.
        trials: of each share; where 0, the interval is 0 to 1.
        z: quantile of the normal distribution, 1.96 for 95%.

    Returns:
        float64 arrays, lower and upper end.
    """
    k, n = np.asarray(successes, np.float64), np.maximum(np.asarray(trials, np.float64), 1e-12)
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)
    return np.where(k <= 0, 0.0, low), np.where(k >= n, 1.0, high)


def benjamini_hochberg(p_values: Values) -> Values:
    """Of each test, the lowest false discovery rate at which it is a finding; float64 (n,)."""
    n = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * n / np.arange(1, n + 1)
    corrected = np.empty(n)
    corrected[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0)
    return corrected


def co_occurrence_p_values(both: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike, baskets: int) -> Values:
    """One-sided tests that two things are in one basket more often than if they were independent.

    The chance that of the ``b`` baskets of one at least ``both`` hold the other, each with its share ``a / baskets``:
    binomial, which is never below Fisher's exact value by much, and computed at once for all.

    Args:
        both: baskets with both.
        a: baskets with the one.
        b: baskets with the other.
        baskets: all.
    """
    both_n, a_n, b_n = (np.asarray(counts, np.float64) for counts in (both, a, b))
    share = np.clip(a_n / max(baskets, 1), 0.0, 1.0)
    p: Values = np.where(both_n <= 0, 1.0, special.betainc(np.maximum(both_n, 1e-9), b_n - both_n + 1, share))
    return p


def shrunken_lift(both: npt.ArrayLike, expected: npt.ArrayLike, shrinkage: float) -> Values:
    """Baskets with all over those expected of independent items, drawn towards 1: (both + s) / (expected + s).

    Args:
        both: baskets that hold all.
        expected: baskets that would, if the items were independent.
        shrinkage: s, in baskets: a set that s baskets are expected to hold is drawn half the way.
    """
    lift: Values = (np.asarray(both, np.float64) + shrinkage) / (np.asarray(expected, np.float64) + shrinkage)
    return lift
