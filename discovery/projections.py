"""Frequent sets of one rarest item: its projection of the baskets, a bit matrix, and Eclat over that.

A row of the matrix is an item, a bit a basket; the baskets of a set are the AND of two rows, their number a population
count (Zaki, IEEE TKDE 2000). Small types and small steps keep memory a tenth of what FP-growth takes.

Shapes: S sets, W words of 64 baskets of a projection.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from data.baskets.table import Baskets

Numbers = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32] | Counts  # int32 where there are few enough order lines
Ranks = npt.NDArray[np.uint16] | Numbers  # of 65,536 items or fewer in half the memory
Mined = tuple[Ranks, Numbers]
Found = dict[int, Mined]  # by size

WORDS_AT_ONCE = 1 << 14  # of ANDed rows: 128 KB, which stay in a core's cache until they are counted


def joined(parts: Sequence[Mined]) -> Mined:
    """Parts of one size as one."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([counts for _, counts in parts])


def miner(ranked: Baskets, least: int, max_length: int) -> Callable[[], Callable[[Sequence[int]], Found]]:
    """Makes a worker that finds the sets of each of some first items; sets are of ranks."""

    def make() -> Callable[[Sequence[int]], Found]:
        order = _small(np.argsort(ranked.items, kind="stable"))
        ends = np.cumsum(ranked.counts)
        row_of: Places = _small(np.arange(len(ranked))).repeat(ranked.lengths)

        def mine(first: Sequence[int]) -> Found:
            found: dict[int, list[Mined]] = {}
            for rank in first:
                places = order[ends[rank] - ranked.counts[rank] : ends[rank]]  # where the item stands in its baskets
                for size, rows, counts in _of_projection(ranked, rank, places, row_of, least, max_length):
                    found.setdefault(size, []).append((rows, counts))
            return {size: joined(found.pop(size)) for size in sorted(found)}

        return mine

    return make


def _of_projection(
    ranked: Baskets, rank: int, places: Places, row_of: Places, least: int, max_length: int
) -> Iterator[tuple[int, Ranks, Numbers]]:
    """Sets whose rarest item is ``rank``: size, rows of ranks, counts."""
    rows = row_of[places]
    starts, lengths = places + 1, ranked.indptr[rows + 1] - places - 1
    ends = np.cumsum(lengths)
    if len(ends) == 0 or ends[-1] == 0:
        return
    offsets = np.repeat(starts - ends + lengths, lengths)
    offsets += np.arange(ends[-1])
    others = ranked.items[offsets]
    del offsets
    counts = np.bincount(others, minlength=ranked.num_items)
    partners = np.flatnonzero(counts >= least)
    if len(partners) == 0:
        return
    pairs = np.empty((len(partners), 2), np.uint16 if ranked.num_items <= 1 << 16 else np.int32)
    pairs[:, 0], pairs[:, 1] = rank, partners
    yield 2, pairs, counts[partners].astype(np.int32)
    if max_length > 2 and len(partners) > 1:
        columns = np.repeat(np.arange(len(places), dtype=np.int32), lengths)
        bits = _bit_matrix(others, columns, partners, ranked.num_items, len(places))
        del others, columns
        yield from _eclat(pairs, bits, least, max_length)


def _bit_matrix(others: Numbers, columns: Numbers, partners: Counts, num_items: int, baskets: int) -> Bits:
    """uint64 (len(partners), W): which baskets of the projection hold each partner."""
    place = np.full(num_items, -1, np.int32)
    place[partners] = np.arange(len(partners))
    rows = place[others]
    kept = rows >= 0
    words = (baskets + 63) // 64
    dense = np.zeros((len(partners), words * 64), np.uint8)
    dense[rows[kept], columns[kept]] = 1
    return np.packbits(dense, axis=1, bitorder="little").view(np.uint64)


def _eclat(sets: Ranks, bits: Bits, least: int, max_length: int) -> Iterator[tuple[int, Ranks, Numbers]]:
    """Supersets of sets that share all but their last item, breadth first: all joins of a size at once.

    Args:
        sets: uint16 or int32 (S, size) in ascending order.
        bits: uint64 (S, W), baskets of each.
        least: fewest baskets.
        max_length: largest size.
    """
    size = sets.shape[1]
    while size < max_length and len(sets) > 1:
        new_sets, new_bits, new_counts = [], [], []
        last = size + 1 == max_length
        for left, right in _joins(sets, max(1, WORDS_AT_ONCE // bits.shape[1])):
            both = bits[left]
            both &= bits[right]
            counts = np.bitwise_count(both).sum(axis=1, dtype=np.int32)
            enough = np.flatnonzero(counts >= least)
            new_sets.append(np.concatenate([sets[left[enough]], sets[right[enough], -1:]], axis=1))
            new_counts.append(counts[enough])
            if not last:
                new_bits.append(both[enough])
        size += 1
        sets = np.concatenate([sets[:0, :1].repeat(size, axis=1), *new_sets])
        if len(sets) == 0:
            return
        if not last:
            del bits, both  # before as much again is made
            bits = np.concatenate(new_bits)
        del new_sets, new_bits
        yield size, sets, np.concatenate(new_counts)


def _joins(sets: Ranks, at_once: int) -> Iterator[tuple[Counts, Counts]]:
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


def _small(places: Counts) -> Places:
    return places.astype(np.int32) if len(places) <= np.iinfo(np.int32).max else places
