"""Many concurrent calls, few batches: what a model or an index does best, asked one at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np

from data.batching import token_batches
from data.errors import TextRefused

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalescer(Generic[Item, Result]):
    """Gathers the calls that arrive while a batch is being worked on into the next batches.

    Nothing waits for company: a call that finds the worker idle starts at once, alone, and under load batches grow by
    themselves. One thread does the work, so the event loop stays free for those who arrive. Calls are served in order,
    but for a ``length``: then items of like length are served together, and age decides who is next.

    Args:
        work: takes a list of items and returns one result for each, in order.
        max_items: most items in a batch.
        length: tokens of an item; every item counts the same where None.
        max_tokens: largest padded area of a batch; ``max_items`` alone bounds it where None.
        max_age_s: seconds after which an item's batch is next, before any other.
        timeout_s: seconds after which a call fails, its waiting included; None is no limit.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result]],
        max_items: int,
        length: Callable[[Item], int] | None = None,
        max_tokens: int | None = None,
        max_age_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> None:
        self._work = work
        self._length = length
        self._timeout_s = timeout_s
        self._waiting = TokenWindow[tuple[Item, asyncio.Future[Result]]](max_tokens or max_items, max_items, max_age_s)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """The result for one item.

        Raises:
            TextRefused: if the item is refused; this never fails the others in its batch.
            TimeoutError: if there is no result within ``timeout_s``.
            Exception: any other that ``work`` raises for the batch that the item is in.
        """
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.add((item, answer), 1 if self._length is None else self._length(item), time.monotonic())
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._serve_waiting())
        async with asyncio.timeout(self._timeout_s):
            return await answer

    async def _serve_waiting(self) -> None:
        while batch := self._waiting.take(time.monotonic()):
            batch = [(item, answer) for item, answer in batch if not answer.done()]  # whose caller has gone
            await self._serve(batch)

    async def _serve(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
        except TextRefused as error:
            refused = [one for one in batch if one[0] == error.text] or (batch if len(batch) == 1 else [])
            _fail(refused, error)
            rest = [one for one in batch if one not in refused]
            # The error does not always name the item that is refused; then it is in one of the halves.
            halves = [rest] if refused else [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
            for half in halves:
                await self._serve(half)
            return
        except Exception as error:  # not the fault of one: asking again for each would take as many times as long
            _fail(batch, error)
            return
        for (_, answer), result in zip(batch, results, strict=True):
            if not answer.done():
                answer.set_result(result)


def _fail(batch: Sequence[tuple[Any, "asyncio.Future[Any]"]], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)


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
            item: to be worked on.
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
