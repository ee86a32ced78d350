"""Draws of some of the entries of many rows at once: e drawn entries of k rows."""

from collections.abc import Callable

import numpy as np

from data.graph.neighbourhoods import Integers

Draw = Callable[[Integers, int, np.random.Generator], tuple[Integers, Integers]]
"""Lengths of rows (k,), number of draws a row (-1: all entries), chance -> row and entry of each draw, (e,) each.

Draws of one row stand together, rows in their order.
"""


def without_replacement(lengths: Integers, width: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Distinct entries, every set of them equally likely; all of a row that has no more than ``width``.

    Floyd's algorithm (Bentley and Floyd, CACM 30, 1987) over all rows together: step j compares a draw with the j
    before it, so the cost is width² / 2 comparisons a row, whatever its length. One draw is a column, so that each
    comparison runs through contiguous memory.
    """
    taken = lengths if width < 0 else np.minimum(lengths, width)
    ends = np.cumsum(taken)
    first = ends - taken
    row = np.repeat(np.arange(len(lengths)), taken)
    entry = np.arange(len(row)) - np.repeat(first, taken)
    longer = np.flatnonzero(lengths > taken)
    if width > 0 and len(longer):
        bound = (lengths[longer] - width).astype(np.int32)
        drawn = np.empty((width, len(longer)), np.int32)
        for step in range(width):
            last = bound + step
            pick = (rng.random(len(longer)) * (last + 1)).astype(np.int32)
            known = np.zeros(len(longer), bool)
            for earlier in drawn[:step]:
                known |= earlier == pick
            drawn[step] = np.where(known, last, pick)
        entry[first[longer] + np.arange(width)[:, None]] = drawn
    return row, entry


def with_replacement(lengths: Integers, width: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """``width`` independent draws from each row that has entries; -1 takes every entry once."""
    if width < 0:
        return without_replacement(lengths, width, rng)
    row = np.repeat(np.flatnonzero(lengths), width)
    return row, (rng.random(len(row)) * lengths[row]).astype(np.int64)
