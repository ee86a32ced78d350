"""What waits to be worked on, and which of it is the next batch."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from data.batching import token_batches

Item = TypeVar("Item")

SMALL = 256  # tokens: a batch of fewer costs more for each, so that it is not shared
AHEAD = 4  # full batches' worth of items that are looked at for the next one


@dataclass
class _Request(Generic[Item]):
    """Items that came together and still wait, each with its length; and since when none of them was served."""

    waiting: deque[tuple[Item, int]]
    since_s: float


class TokenWindow(Generic[Item]):
    """Requests of one or many items, handed out in the batches that ``token_batches`` makes of those here now.

    Only the first items of each request are looked at, as many of each as of any other: a request of thousands does not
    crowd out the rest. Of very many requests those are looked at that wait longest, so that a batch costs no more to
    choose where a thousand wait. The batch that ends most requests goes first, and of such the one of most items: many
    short texts are answered in the time of one long one. A request of which nothing was served for ``max_age_s`` ends
    that: from then on the batch with the first item of the longest-waiting request is next. So no request waits longer
    than its age bound and the turns of those that were there before it, and a long list never keeps others from theirs.

    The clock is the caller's: seconds that never fall, from any beginning.

    Args:
        max_tokens: largest cost of a batch, at least 1. A longer item is a batch of its own. It may be changed.
        max_items: most items in a batch, at least 1.
        max_age_s: seconds without service after which a request is next; 0 serves the longest-waiting first. It may be
            changed.
        padded: whether the cost is the padded area, as of ``token_batches``.
    """

    def __init__(self, max_tokens: int, max_items: int, max_age_s: float, padded: bool = True) -> None:
        self.max_tokens, self.max_age_s = max_tokens, max_age_s
        self._max_items, self._padded = max_items, padded
        self._requests: deque[_Request[Item]] = deque()  # by since_s, the longest-waiting first
        self._items = self._tokens = 0

    def __len__(self) -> int:
        """Items that wait."""
        return self._items

    @property
    def tokens(self) -> int:
        """Tokens that wait."""
        return self._tokens

    def add(self, items: Sequence[Item], lengths: Sequence[int], now_s: float) -> None:
        """Let a request wait.

        Args:
            items: to be worked on, at least one.
            lengths: the tokens of each.
            now_s: the time.
        """
        self._requests.append(_Request(deque(zip(items, lengths, strict=True)), now_s))
        self._items += len(items)
        self._tokens += sum(lengths)

    def take(self, now_s: float, among: int = 1) -> list[Item]:
        """The next batch, which then waits no more, by request and in order; empty where nothing waits.

        Args:
            now_s: the time.
            among: workers that share what waits: one does not take all of it while the others have nothing.
        """
        if not self._requests:
            return []
        if self._items == 1:
            return self._hand_out(np.ones(1, np.bool_), [1], now_s)
        most = min(self.max_tokens, max(SMALL, -(-self._tokens // among)))
        requests = list(islice(self._requests, AHEAD * self._max_items))
        share = max(1, AHEAD * self._max_items // len(requests))
        counts = [min(share, len(request.waiting)) for request in requests]
        owner = np.repeat(np.arange(len(counts)), counts)
        lengths = [length for request in requests for _, length in islice(request.waiting, share)]
        batches = token_batches(np.array(lengths, np.int64), most, self._max_items, self._padded)
        if now_s - self._requests[0].since_s >= self.max_age_s:
            chosen = next(batch for batch in batches if 0 in batch)
        else:
            waiting = np.array([len(request.waiting) for request in requests])
            chosen = max(batches, key=lambda batch: (_ended(owner[batch], waiting), len(batch)))
        goes = np.zeros(len(owner), np.bool_)
        goes[chosen] = True
        return self._hand_out(goes, counts, now_s)

    def _hand_out(self, chosen: npt.NDArray[np.bool_], counts: list[int], now_s: float) -> list[Item]:
        """Take out the chosen ones of the items looked at: ``counts`` of them are of each of the first requests."""
        taken: list[Item] = []
        passed_over, served, start = list[_Request[Item]](), list[_Request[Item]](), 0
        for count in counts:
            request = self._requests.popleft()
            goes, start = chosen[start : start + count], start + count
            if not goes.any():
                passed_over.append(request)
                continue
            looked_at = [request.waiting.popleft() for _ in range(count)]
            request.waiting.extendleft(one for one, go in zip(reversed(looked_at), goes[::-1], strict=True) if not go)
            request.since_s = now_s
            if request.waiting:
                served.append(request)
            for (item, length), go in zip(looked_at, goes, strict=True):
                if go:
                    taken.append(item)
                    self._tokens -= length
        self._requests.extendleft(reversed(passed_over))
        self._requests.extend(served)
        self._items -= len(taken)
        return taken


def _ended(owners: npt.NDArray[np.int64], waiting: npt.NDArray[np.int64]) -> int:
    """How many requests a batch with items of these owners would end."""
    of, taken = np.unique(owners, return_counts=True)
    return int((taken == waiting[of]).sum())
