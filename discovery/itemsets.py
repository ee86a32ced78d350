"""Frequent itemsets: sets of items that at least a share of baskets hold whole.

Items are taken from the rarest to the commonest. The baskets of one item, cut down to the commoner items in them, are
its projection (Han et al., SIGMOD 2000): it holds every frequent set whose rarest item it is, and projections do not
depend on each other. Pairs are counts of the projection's items. Larger sets come of its bit matrix (``projections``).
Few projections are large: that of a rare item has few baskets, that of a common one few items.

Shapes: B baskets, S sets.
"""

from dataclasses import dataclass

import numpy as np

from data.baskets.table import Baskets
from data.errors import InputError
from data.spread import Runner, here
from discovery.projections import Counts, Numbers, Places, joined, miner

CHUNKS = 16  # tasks that first items are dealt to, where a runner shares them


@dataclass(frozen=True)
class Itemsets:
    """Frequent sets by size.

    Attributes:
        sets: of each size from 1: int32 (S, size), ascending within a row, rows in ascending order.
        counts: int64 (S,) of each size, baskets that hold the set.
        baskets: B, of which supports are shares.
        baskets_cut: baskets that had more items than the cap, whose rarest items were left out.
    """

    sets: list[Numbers]
    counts: list[Counts]
    baskets: int
    baskets_cut: int = 0

    def __len__(self) -> int:
        """Sets of all sizes."""
        return sum(map(len, self.counts))

    def of_size(self, size: int) -> tuple[Numbers, Counts]:
        """Sets of one size and their counts; empty where there are none."""
        if size <= len(self.sets):
            return self.sets[size - 1], self.counts[size - 1]
        return np.empty((0, size), np.int32), np.empty(0, np.int64)

    def as_dict(self) -> dict[tuple[int, ...], int]:
        """Count of each set, for tests and small work."""
        return {
            tuple(row): int(count)
            for sets, counts in zip(self.sets, self.counts, strict=True)
            for row, count in zip(sets.tolist(), counts, strict=True)
        }


def least_count(min_support: float, baskets: int) -> int:
    """Fewest baskets of a set whose support is at least ``min_support``.

    Raises:
        InputError: if the support is not above 0 and at most 1.
    """
    if not 0 < min_support <= 1:
        raise InputError(
            f"min_support is a share of baskets above 0 and at most 1, got {min_support:g}",
            "Set it to 0.001 for sets that one basket in a thousand holds.",
        )
    return max(1, int(np.ceil(min_support * baskets - 1e-9)))


def frequent_itemsets(
    baskets: Baskets,
    min_support: float,
    max_length: int = 3,
    max_items: int | None = None,
    runner: Runner = here,
) -> Itemsets:
    """Every set of at most ``max_length`` items that at least ``min_support`` of the baskets hold.

    Args:
        baskets: B baskets.
        min_support: share of baskets, above 0 and at most 1.
        max_length: largest size, at least 1.
        max_items: a basket with more frequent items keeps its commonest; counted in ``baskets_cut``. All where None.
        runner: shares first items among workers; the result is that of one process.

    Raises:
        InputError: if the support is out of its range.
    """
    least = least_count(min_support, len(baskets))
    frequent = np.flatnonzero(baskets.counts >= least).astype(np.int32)
    order = frequent[np.argsort(baskets.counts[frequent], kind="stable")]  # ranks: the rarest is 0
    ranked, cut = _ranked(baskets, order, max_items)
    counts_1 = ranked.counts if cut else baskets.counts[order]  # a cap may take baskets from an item
    place = np.argsort(np.argsort(order)).astype(np.int32)  # of each rank among the frequent items, which ascend
    keep = counts_1 >= least
    ordered = [_in_order(place[keep, None], counts_1[keep], frequent)]
    if max_length > 1 and len(order):
        tasks = [range(start, len(order), CHUNKS) for start in range(min(CHUNKS, len(order)))]
        if runner is here:
            tasks = [range(len(order))]
        found = list(runner.run(tasks, miner(ranked, least, max_length), "itemsets"))
        for size in range(2, max_length + 1):
            of_size = [made.pop(size) for made in found if size in made]  # freed size by size, as results grow
            if not of_size:
                break
            rows, counts = joined(of_size)
            del of_size
            ordered.append(_in_order(place[rows], counts, frequent))
    return Itemsets([rows for rows, _ in ordered], [numbers for _, numbers in ordered], len(baskets), cut)


def _ranked(baskets: Baskets, order: Numbers, max_items: int | None) -> tuple[Baskets, int]:
    """Baskets of ranks in the place of items, infrequent items left out, ascending; and how many were cut."""
    rank_of = np.full(baskets.num_items, -1, np.int32)
    rank_of[order] = np.arange(len(order), dtype=np.int32)
    ranks = rank_of[baskets.items]
    width = max(len(order), 1)
    codes = np.repeat(np.arange(len(baskets), dtype=np.int64) * width, baskets.lengths)
    codes += ranks
    codes = codes[ranks >= 0]
    codes.sort()
    rows = codes // width
    lengths = np.bincount(rows, minlength=len(baskets))
    rows *= width  # in place, as there are as many as order lines
    codes -= rows
    ranks = codes.astype(np.int32)
    del rows, codes
    cut = 0
    if max_items is not None and (large := lengths > max_items).any():
        cut = int(large.sum())
        ends = np.cumsum(lengths)
        from_end = np.repeat(ends, lengths) - np.arange(len(ranks))  # the commonest have the highest ranks
        ranks = ranks[from_end <= max_items]
        lengths = np.minimum(lengths, max_items)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Baskets(indptr, ranks, len(order)), cut


def _in_order(rows: Numbers, counts: Places, items: Numbers) -> tuple[Numbers, Counts]:
    """Sets of items with ascending items, in ascending order, of rows of places in ``items``, which are ascending."""
    rows.sort(axis=1)
    if len(items) ** rows.shape[1] < 1 << 63:  # then a row is one number, and one sort of numbers orders them
        codes = np.zeros(len(rows), np.int64)
        for column in rows.T:
            codes *= len(items)
            codes += column
        order = np.argsort(codes)
    else:
        order = np.lexsort(rows.T[::-1])
    return items[rows[order]], counts[order].astype(np.int64)
