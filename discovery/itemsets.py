"""Frequent itemsets: sets of items that at least a share of baskets hold whole.

Items are taken from the rarest to the commonest. The baskets of one item, cut down to the commoner items in them, are
its projection (Han et al., SIGMOD 2000): it holds every frequent set whose rarest item it is, and projections do not
depend on each other. Pairs are counts of the projection's items. Larger sets come of its bit matrix, a row an item and
a bit a basket, by Eclat (Zaki, IEEE TKDE 2000): the baskets of a set are the AND of two rows, their number a population
count.
Few projections are large: that of a rare item has few baskets, that of a common one few items.

Shapes: B baskets, F frequent items, S sets, W words of 64 baskets of a projection.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.baskets.table import Baskets
from data.errors import InputError
from data.spread import Runner, here

Numbers = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

CHUNKS = 16  # tasks that first items are dealt to, where a runner shares them
WORDS_AT_ONCE = 1 << 21  # of ANDed rows: 16 MB


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
    sets, counts = [order[:, None]], [counts_1]
    keep = counts_1 >= least
    sets[0], counts[0] = sets[0][keep], counts[0][keep]
    if max_length > 1 and len(order):
        tasks = [range(start, len(order), CHUNKS) for start in range(min(CHUNKS, len(order)))]
        if runner is here:
            tasks = [range(len(order))]
        found = list(runner.run(tasks, _miner(ranked, least, max_length), "itemsets"))
        for size in range(2, max_length + 1):
            of_size = [made[size] for made in found if size in made]
            if not of_size:
                break
            sets.append(order[np.concatenate([rows for rows, _ in of_size])])
            counts.append(np.concatenate([numbers for _, numbers in of_size]))
    ordered = [_in_order(*of_size) for of_size in zip(sets, counts, strict=True)]
    return Itemsets([rows for rows, _ in ordered], [numbers for _, numbers in ordered], len(baskets), cut)


def _ranked(baskets: Baskets, order: Numbers, max_items: int | None) -> tuple[Baskets, int]:
    """Baskets of ranks in the place of items, infrequent items left out, ascending; and how many were cut."""
    rank_of = np.full(baskets.num_items, -1, np.int32)
    rank_of[order] = np.arange(len(order), dtype=np.int32)
    ranks = rank_of[baskets.items]
    rows = np.repeat(np.arange(len(baskets), dtype=np.int64), baskets.lengths)
    kept = ranks >= 0
    width = max(len(order), 1)
    codes = np.sort(rows[kept] * width + ranks[kept])
    rows, ranks = codes // width, (codes % width).astype(np.int32)
    lengths = np.bincount(rows, minlength=len(baskets))
    cut = 0
    if max_items is not None and (large := lengths > max_items).any():
        cut = int(large.sum())
        ends = np.cumsum(lengths)
        from_end = np.repeat(ends, lengths) - np.arange(len(ranks))  # the commonest have the highest ranks
        ranks = ranks[from_end <= max_items]
        lengths = np.minimum(lengths, max_items)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Baskets(indptr, ranks, len(order)), cut


Found = dict[int, tuple[Numbers, Counts]]


def _miner(ranked: Baskets, least: int, max_length: int) -> Callable[[], Callable[[Sequence[int]], Found]]:
    """Makes a worker that finds the sets of each of some first items; sets are of ranks."""

    def make() -> Callable[[Sequence[int]], Found]:
        order = np.argsort(ranked.items, kind="stable")
        ends = np.cumsum(ranked.counts)
        row_of = np.repeat(np.arange(len(ranked)), ranked.lengths)

        def mine(first: Sequence[int]) -> Found:
            found: dict[int, list[tuple[Numbers, Counts]]] = {}
            for rank in first:
                places = order[ends[rank] - ranked.counts[rank] : ends[rank]]  # where the item stands in its baskets
                for size, rows, counts in _of_projection(ranked, rank, places, row_of, least, max_length):
                    found.setdefault(size, []).append((rows, counts))
            return {
                size: (np.concatenate([rows for rows, _ in parts]), np.concatenate([counts for _, counts in parts]))
                for size, parts in found.items()
            }

        return mine

    return make


def _of_projection(
    ranked: Baskets, rank: int, places: Counts, row_of: Counts, least: int, max_length: int
) -> Iterator[tuple[int, Numbers, Counts]]:
    """Sets whose rarest item is ``rank``: size, rows of ranks, counts."""
    rows = row_of[places]
    starts, lengths = places + 1, ranked.indptr[rows + 1] - places - 1
    ends = np.cumsum(lengths)
    if len(ends) == 0 or ends[-1] == 0:
        return
    offsets = np.arange(ends[-1]) + np.repeat(starts - ends + lengths, lengths)
    others = ranked.items[offsets]
    counts = np.bincount(others, minlength=ranked.num_items)
    partners = np.flatnonzero(counts >= least)
    if len(partners) == 0:
        return
    pairs = np.empty((len(partners), 2), np.int32)
    pairs[:, 0], pairs[:, 1] = rank, partners
    yield 2, pairs, counts[partners]
    if max_length > 2 and len(partners) > 1:
        bits = _bit_matrix(others, np.repeat(np.arange(len(places)), lengths), partners, ranked.num_items, len(places))
        yield from _eclat(pairs, bits, least, max_length)


def _bit_matrix(others: Numbers, columns: Counts, partners: Counts, num_items: int, baskets: int) -> Bits:
    """uint64 (len(partners), W): which baskets of the projection hold each partner."""
    place = np.full(num_items, -1, np.int64)
    place[partners] = np.arange(len(partners))
    rows = place[others]
    kept = rows >= 0
    words = (baskets + 63) // 64
    dense = np.zeros((len(partners), words * 64), np.uint8)
    dense[rows[kept], columns[kept]] = 1
    return np.packbits(dense, axis=1, bitorder="little").view(np.uint64)


def _eclat(sets: Numbers, bits: Bits, least: int, max_length: int) -> Iterator[tuple[int, Numbers, Counts]]:
    """Supersets of sets that share all but their last item, breadth first: all joins of a size at once.

    Args:
        sets: int32 (S, size) in ascending order.
        bits: uint64 (S, W), baskets of each.
        least: fewest baskets.
        max_length: largest size.
    """
    size = sets.shape[1]
    while size < max_length and len(sets) > 1:
        new_sets, new_bits, new_counts = [], [], []
        last = size + 1 == max_length
        for left, right in _joins(sets, max(1, WORDS_AT_ONCE // bits.shape[1])):
            joined = bits[left] & bits[right]
            counts = np.bitwise_count(joined).sum(axis=1, dtype=np.int64)
            enough = np.flatnonzero(counts >= least)
            new_sets.append(np.concatenate([sets[left[enough]], sets[right[enough], -1:]], axis=1))
            new_counts.append(counts[enough])
            if not last:
                new_bits.append(joined[enough])
        size += 1
        sets = np.concatenate([np.empty((0, size), np.int32), *new_sets])
        if len(sets) == 0:
            return
        yield size, sets, np.concatenate(new_counts)
        if not last:
            bits = np.concatenate(new_bits)


def _joins(sets: Numbers, at_once: int) -> Iterator[tuple[Counts, Counts]]:
    """Pairs of rows, the first before the second, that differ in their last item alone; at most about ``at_once``."""
    same = np.concatenate([[False], (sets[1:, :-1] == sets[:-1, :-1]).all(axis=1)])
    group = np.cumsum(~same) - 1
    end = np.searchsorted(group, group, side="right")
    partners = end - np.arange(len(sets)) - 1  # rows behind each in its group
    ends = np.cumsum(partners)
    start = 0
    while start < len(sets):
        done = ends[start - 1] if start else 0
        stop = min(len(sets), max(start + 1, int(np.searchsorted(ends, done + at_once, side="right"))))
        count = partners[start:stop]
        left = np.repeat(np.arange(start, stop), count)
        first = np.cumsum(count) - count
        yield left, left + 1 + np.arange(len(left)) - np.repeat(first, count)
        start = stop


def _in_order(sets: Numbers, counts: Counts) -> tuple[Numbers, Counts]:
    """Rows with ascending items, in ascending order."""
    rows = np.sort(sets, axis=1)
    order = np.lexsort(rows.T[::-1])
    return rows[order], counts[order]
