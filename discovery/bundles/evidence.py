"""What baskets say of candidates: how many hold all items, how many lack one, and how far that is from chance.

Shapes: C candidates, L items of the largest, B baskets, W words of 64 baskets.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from data.baskets.table import Baskets
from discovery.association import Values, shrunken_lift, wilson_interval
from discovery.bundles.candidates import NO_ITEM, Members

BASKETS_AT_ONCE = 1 << 18
WORDS_AT_ONCE = 1 << 21  # 16 MB

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Evidence:
    """Counts of candidates.

    Attributes:
        baskets: B.
        held: int64 (C,), baskets with all items.
        lacking: int64 (C, L), baskets with all items but this one; 0 beyond the candidate's items.
        confidence: float64 (C, L), of baskets with all other items, the share that holds this one too, shrunken towards
            the item's share of all baskets; 0 beyond the candidate's items.
        expected: float64 (C,), baskets that would hold all, were the items independent.
        lift: float64 (C,), shrunken.
        lift_low: lower end of the 95% interval of held / expected (Wilson's of the share).
        lift_high: upper end.
        shares: float64 (I,), of all baskets, those that hold each item.
    """

    baskets: int
    held: Counts
    lacking: Counts
    confidence: Values
    expected: Values
    lift: Values
    lift_low: Values
    lift_high: Values
    shares: Values

    def take(self, rows: npt.NDArray[np.integer]) -> "Evidence":
        """Those rows."""
        columns = ("held", "lacking", "confidence", "expected", "lift", "lift_low", "lift_high")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})


def gather_evidence(members: Members, baskets: Baskets, shrinkage: float) -> Evidence:
    """Count candidates in baskets, block by block, by ANDs of bits.

    Args:
        members: int32 (C, L).
        baskets: to count in.
        shrinkage: of the lift and of confidence, in baskets.
    """
    held = np.zeros(len(members), np.int64)
    lacking = np.zeros(members.shape, np.int64)
    for block in _blocks(baskets):
        in_block, without = _count(members, block)
        held += in_block
        lacking += without
    n = max(len(baskets), 1)
    shares = baskets.counts / n
    of_member = np.where(members == NO_ITEM, 1.0, shares[members])
    expected = of_member.prod(axis=1) * n
    low, high = wilson_interval(held, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (np.where(expected > 0, end * n / expected, 0.0) for end in (low, high))
    lift = shrunken_lift(held, expected, shrinkage)
    confidence = _confidence(members, held, lacking, of_member, shrinkage)
    return Evidence(len(baskets), held, lacking, confidence, expected, lift, low, high, shares)


def _confidence(members: Members, held: Counts, lacking: Counts, shares: Values, shrinkage: float) -> Values:
    others = held[:, None] + lacking
    drawn = shares * shrunken_lift(held[:, None], others * shares, shrinkage)
    confidence: Values = np.where(members == NO_ITEM, 0.0, np.minimum(drawn, 1.0))
    return confidence


def occasions(members: Members, baskets: Baskets) -> tuple[int, int]:
    """Times that a basket holds a bundle whole, and times that it holds all of it, or all but one item."""
    held = lacking = 0
    for block in _blocks(baskets):
        in_block, without = _count(members, block)
        held, lacking = held + int(in_block.sum()), lacking + int(without.sum())
    return held, held + lacking


def holding(members: Members, baskets: Baskets) -> npt.NDArray[np.uint64]:
    """Which baskets hold all items of each candidate: uint64 (C, W), a bit a basket."""
    if len(members) == 0:
        return np.zeros((0, (len(baskets) + 63) // 64), np.uint64)
    bits, place = _rows(members, baskets)
    held = bits[place[:, 0]]
    for column in range(1, members.shape[1]):
        held &= bits[place[:, column]]
    return held


def _blocks(baskets: Baskets) -> list[Baskets]:
    starts = range(0, len(baskets), BASKETS_AT_ONCE)
    return [_slice(baskets, start, min(start + BASKETS_AT_ONCE, len(baskets))) for start in starts]


def _slice(baskets: Baskets, start: int, stop: int) -> Baskets:
    ends = baskets.indptr[start : stop + 1]
    return Baskets(ends - ends[0], baskets.items[ends[0] : ends[-1]], baskets.num_items)


def _rows(members: Members, baskets: Baskets) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Bits of every item that is a member, and in the last row all ones; and the row of each member, (C, L)."""
    items = np.unique(members[members != NO_ITEM])
    bits = np.concatenate([baskets.bits(items), np.full((1, (len(baskets) + 63) // 64), ~np.uint64(0))])
    return bits, np.where(members == NO_ITEM, len(items), np.searchsorted(items, members))


def _count(members: Members, baskets: Baskets) -> tuple[Counts, Counts]:
    bits, place = _rows(members, baskets)
    held = np.zeros(len(members), np.int64)
    lacking = np.zeros(members.shape, np.int64)
    size = members.shape[1]
    at_once = max(1, WORDS_AT_ONCE // max(1, bits.shape[1] * size))
    for start in range(0, len(members), at_once):
        rows = place[start : start + at_once]
        others = [_all_but(bits, rows, column) for column in range(size)]
        whole = others[0] & bits[rows[:, 0]]
        held[start : start + len(rows)] = _number(whole)
        for column, without in enumerate(others):
            lacking[start : start + len(rows), column] = _number(without & ~bits[rows[:, column]])
    lacking[members == NO_ITEM] = 0
    return held, lacking


def _all_but(bits: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64], left_out: int) -> npt.NDArray[np.uint64]:
    found = bits[rows[:, (left_out + 1) % rows.shape[1]]]
    for column in range(rows.shape[1]):
        if column != left_out:
            found = found & bits[rows[:, column]]
    return found


def _number(bits: npt.NDArray[np.uint64]) -> Counts:
    counts: Counts = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return counts
