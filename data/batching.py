"""Batches of texts by the area they fill once padded, so that no forward pass is mostly padding or too large.

``token_batches`` cuts a window of items into batches; ``TokenWindow`` is the same online, where items keep arriving.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
Item = TypeVar("Item")


def token_batches(lengths: npt.NDArray[np.integer], max_tokens: int, max_items: int | None = None) -> list[Positions]:
    """Group texts of like length so that each batch's padded area keeps to ``max_tokens``.

    The area of a batch is its longest length times its number of texts. Longest texts come first: the largest
    activations are met at once rather than late in a job, and the last batches, which end a job that several threads
    share, are small.

    Args:
        lengths: tokens of each of N texts, integers of shape (N,).
        max_tokens: largest padded area, at least 1. A text longer than that is a batch of its own.
        max_items: most texts in a batch; no bound where None.

    Returns:
        Batches as int64 positions in ``lengths``; each position stands in exactly one. Texts of equal length keep their
        order, so the same lengths give the same batches.

    Raises:
        ValueError: if ``max_tokens`` or ``max_items`` is smaller than 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
    if max_items is not None and max_items < 1:
        raise ValueError(f"max_items must be at least 1, got {max_items}")
    order: Positions = np.argsort(-lengths.astype(np.int64), kind="stable").astype(np.int64)
    batches = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        count = max(1, max_tokens // longest)
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


class TokenWindow(Generic[Item]):
    """Items that wait to be worked on, handed out in the batches that ``token_batches`` makes of those here now.

    The batch of most items goes first: many short texts are answered in the time of one long one. An item that has
    waited for ``max_age_s`` ends that: from then on the batch that holds the oldest item goes first, so nothing waits
    for longer than its age bound and the turns of those that were there before it.

    The clock is the caller's: seconds that never fall, from any beginning.

    Args:
        max_tokens: largest padded area of a batch, at least 1. A longer item is a batch of its own.
        max_items: most items in a batch, at least 1.
        max_age_s: seconds after which an item's batch is next; 0 hands out oldest first.
    """

    def __init__(self, max_tokens: int, max_items: int, max_age_s: float) -> None:
        self._max_tokens = max_tokens
        self._max_items = max_items
        self._max_age_s = max_age_s
        self._waiting: list[tuple[Item, int, float]] = []  # in order of arrival: item, length, time

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item, length: int, now_s: float) -> None:
        """Let an item wait.

        Args:
            item: whatever is to be worked on.
            length: its tokens.
            now_s: the time.
        """
        self._waiting.append((item, length, now_s))

    def take(self, now_s: float) -> list[Item]:
        """The next batch, which then waits no more; empty where nothing waits."""
        if not self._waiting:
            return []
        lengths = np.array([length for _, length, _ in self._waiting], dtype=np.int64)
        batches = token_batches(lengths, self._max_tokens, self._max_items)
        if now_s - self._waiting[0][2] >= self._max_age_s:
            chosen = next(batch for batch in batches if 0 in batch)
        else:
            chosen = max(batches, key=len)
        taken = set(chosen.tolist())
        items = [self._waiting[position][0] for position in sorted(taken)]
        self._waiting = [waiting for position, waiting in enumerate(self._waiting) if position not in taken]
        return items
