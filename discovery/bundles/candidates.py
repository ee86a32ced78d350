"""Candidates: sets of items from several sources, each set once, the best kept and no item in too many.

Shapes: C candidates, L items of the largest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NO_ITEM = -1
Members = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Candidates:
    """Sets of items.

    Attributes:
        members: int32 (C, L), ascending, filled up with ``NO_ITEM`` at the end.
        sources: uint8 (C,), a bit for each source that found it, in the order of ``config.SOURCES``.
    """

    members: Members
    sources: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """Candidates."""
        return len(self.members)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """int64 (C,), items of each."""
        sizes: npt.NDArray[np.int64] = (self.members != NO_ITEM).sum(axis=1)
        return sizes

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> "Candidates":
        """Those rows."""
        return Candidates(self.members[rows], self.sources[rows])


def padded(sets: Members, width: int) -> Members:
    """Rows of ``width`` items: ascending, filled up with ``NO_ITEM`` at the end."""
    rows = np.full((len(sets), width), np.iinfo(np.int32).max, np.int32)
    rows[:, : sets.shape[1]] = np.where(sets == NO_ITEM, np.iinfo(np.int32).max, sets)
    rows.sort(axis=1)
    rows[rows == np.iinfo(np.int32).max] = NO_ITEM
    return rows


def merge(found: Sequence[Members], bits: Sequence[int], width: int) -> Candidates:
    """Each set once, with the bits of all sources that found it.

    Args:
        found: int32 (n, size) of each source; rows may be filled up with ``NO_ITEM``.
        bits: of each source.
        width: L.
    """
    rows = np.concatenate([np.empty((0, width), np.int32), *(padded(sets, width) for sets in found)])
    of_row = np.repeat(np.asarray(bits, np.uint8), [len(sets) for sets in found])
    if len(rows) == 0:
        return Candidates(rows, np.empty(0, np.uint8))
    order = np.lexsort(rows.T[::-1])
    rows, of_row = rows[order], of_row[order]
    first = np.flatnonzero(np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)]))
    return Candidates(rows[first], np.bitwise_or.reduceat(of_row, first))


def best_and_diverse(
    members: Members, quality: npt.NDArray[np.float64], count: int, per_item: int
) -> npt.NDArray[np.int64]:
    """Places of at most ``count`` rows, best first, none whose item is in ``per_item`` better rows already.

    Better rows count whether they are kept or not, so that one pass over sorted columns does it.

    Args:
        members: int32 (C, L).
        quality: float64 (C,), more is better.
        count: rows kept.
        per_item: rows that an item is in.
    """
    order = np.argsort(-quality, kind="stable")
    rows = members[order]
    flat = rows.ravel()
    by_item = np.argsort(flat, kind="stable")  # then the occurrences of an item stand in order of quality
    ascending = flat[by_item]
    first = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]])[: len(ascending)])
    lengths = np.diff(np.append(first, len(ascending)))
    rank = np.empty(len(flat), np.int64)
    rank[by_item] = np.arange(len(flat)) - np.repeat(first, lengths)
    allowed = ((rank.reshape(rows.shape) < per_item) | (rows == NO_ITEM)).all(axis=1)
    best: npt.NDArray[np.int64] = order[allowed][:count]
    return best
