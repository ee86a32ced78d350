"""Association rules of frequent itemsets: who has these items also has those, with intervals and corrections.

Every itemset of two and more gives a rule for each way to split it in two. All splits of a size are computed at once.

Shapes: R rules, L items of the largest set.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from discovery.association import Values, benjamini_hochberg, co_occurrence_p_values, wilson_interval
from discovery.itemsets import Itemsets
from discovery.projections import Counts, Numbers
from evaluation.significance import holm

NO_ITEM = -1


@dataclass(frozen=True)
class Rules:
    """Rules, strongest first: by lift, then by support.

    Attributes:
        sets: int32 (R, L), items of both sides, filled up with ``NO_ITEM``.
        consequent: bool (R, L), which of them are on the right.
        count: int64 (R,), baskets with all items.
        support: ``count`` as a share of baskets; float64 (R,), as all below.
        confidence: share of the baskets with the left side that have the right.
        confidence_low: lower end of its 95% interval (Wilson).
        confidence_high: upper end.
        lift: confidence over the right side's support; 1 where they are independent.
        leverage: support above that of independent sides.
        conviction: how much more often the rule would be wrong, were the sides independent; infinite if it never is.
        p_value: of independence, one-sided.
        q_value: ``p_value`` corrected for all splits by Benjamini and Hochberg: false discovery rate.
        p_family: corrected by Holm: chance of a single false finding.
    """

    sets: Numbers
    consequent: npt.NDArray[np.bool_]
    count: Counts
    support: Values
    confidence: Values
    confidence_low: Values
    confidence_high: Values
    lift: Values
    leverage: Values
    conviction: Values
    p_value: Values
    q_value: Values
    p_family: Values

    def __len__(self) -> int:
        """Rules."""
        return len(self.count)


def association_rules(itemsets: Itemsets, min_confidence: float = 0.0, min_lift: float = 0.0) -> Rules:
    """Rules of all splits of all sets; corrections count every split, those that are left out as well.

    Args:
        itemsets: sets with all their subsets, as ``frequent_itemsets`` finds them.
        min_confidence: rules below are left out.
        min_lift: rules below are left out.
    """
    longest = max(len(itemsets.sets), 2)
    blocks = [
        _splits(itemsets, size, mask, longest) for size in range(2, longest + 1) for mask in range(1, (1 << size) - 1)
    ]
    sets, consequent, both, left, right = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    n = max(itemsets.baskets, 1)
    p_values = co_occurrence_p_values(both, left, right, n)
    q_values, p_family = benjamini_hochberg(p_values), holm(p_values)
    confidence = both / np.maximum(left, 1)
    low, high = wilson_interval(both, left)
    share = right / n
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = confidence / share
        conviction = np.where(confidence < 1, (1 - share) / (1 - confidence), np.inf)
    columns = (
        both / n,
        confidence,
        low,
        high,
        lift,
        both / n - left / n * share,
        conviction,
        p_values,
        q_values,
        p_family,
    )
    kept = np.flatnonzero((confidence >= min_confidence) & (lift >= min_lift))
    kept = kept[np.lexsort((-both[kept], -lift[kept]))]
    return Rules(sets[kept], consequent[kept], both[kept], *(values[kept] for values in columns))


def _splits(
    itemsets: Itemsets, size: int, mask: int, longest: int
) -> tuple[Numbers, npt.NDArray[np.bool_], Counts, Counts, Counts]:
    """One way to split all sets of a size: padded sets, flags of the right side, counts of both sides and of each."""
    sets, counts = itemsets.of_size(size)
    right = np.array([bool(mask >> place & 1) for place in range(size)])
    padded = np.full((len(sets), longest), NO_ITEM, np.int32)
    padded[:, :size] = sets
    flags = np.zeros((len(sets), longest), bool)
    flags[:, :size] = right
    return padded, flags, counts, _counts_of(itemsets, sets[:, ~right]), _counts_of(itemsets, sets[:, right])


def _counts_of(itemsets: Itemsets, subsets: Numbers) -> Counts:
    """Counts of subsets, int64 (S,); each is frequent, as it is part of a frequent set."""
    known, counts = itemsets.of_size(subsets.shape[1])
    if len(subsets) == 0:
        return np.empty(0, np.int64)
    place = np.searchsorted(_codes(known), _codes(subsets))
    return counts[place]


def _codes(sets: Numbers) -> npt.NDArray[np.void]:
    """Rows as bytes that compare like the rows: the order of ``Itemsets``."""
    wide = np.ascontiguousarray(sets.astype(">u4"))
    return wide.view(np.dtype((np.void, wide.shape[1] * 4))).ravel()
