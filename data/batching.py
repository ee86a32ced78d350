"""Batches of texts by the area they fill once padded, so that no forward pass is mostly padding or too large.

``token_batches`` cuts a window of items into batches; ``TokenWindow`` is the same online, where items keep arriving.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
Item = TypeVar("Item")


def token_batches(
    lengths: npt.NDArray[np.integer], max_tokens: int, max_items: int | None = None, padded: bool = True
) -> list[Positions]:
    """Group texts of like length so that each batch's cost keeps to ``max_tokens``.

    The cost of a batch is its padded area, its longest length times its number of texts; for a model that computes
    without padding it is the sum of its lengths. Longest texts come first: the largest
    activations are met at once rather than late in a job, and the last batches, which end a job that several threads
    share, are small.

    Args:
        lengths: tokens of each of N texts, integers of shape (N,).
        max_tokens: largest cost, at least 1. A longer text is a batch by itself.
        max_items: most texts in a batch; no bound where None.
        padded: whether the model computes on padding.

    Returns:
        Batches as int64 positions in ``lengths``; each position is in exactly one. Texts of equal length keep their
        order, so the same lengths give the same batches.

    Raises:
        ValueError: if ``max_tokens`` or ``max_items`` is smaller than 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
    if max_items is not None and max_items < 1:
        raise ValueError(f"max_items must be at least 1, got {max_items}")
    order: Positions = np.argsort(-lengths.astype(np.int64), kind="stable").astype(np.int64)
    ends = np.cumsum(lengths[order].astype(np.int64))
    batches = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        before = int(ends[start - 1]) if start else 0
        fitting = max_tokens // longest if padded else int(np.searchsorted(ends, before + max_tokens, "right")) - start
        count = max(1, fitting)
        if max_items is not None:
            count = min(count, max_items)
        batches.append(order[start : start + count])
        start += count
    return batches


def padding_share(lengths: npt.NDArray[np.integer], batches: Sequence[Positions]) -> float:
    """Share of the batches' padded area that holds no token: 0.0 where there is none, and for no batches at all."""
    area = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    tokens = sum(int(lengths[batch].sum()) for batch in batches)
    return 1.0 - tokens / area if area else 0.0
