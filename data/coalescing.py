"""Many concurrent calls, few batches: what a model or an index does best, asked one at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalescer(Generic[Item, Result]):
    """Gathers the calls that arrive while a batch is being worked on into the next batch.

    Nothing waits for company: a call that finds the worker idle starts at once, alone, and under load batches grow by
    themselves. One thread does the work, so the event loop stays free for those who arrive. Calls are served in order.

    Args:
        work: takes a list of items and returns one result for each, in order.
        max_items: most items in a batch.
    """

    def __init__(self, work: Callable[[list[Item]], Sequence[Result]], max_items: int) -> None:
        self._work = work
        self._max_items = max_items
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """The result for one item.

        Raises:
            Exception: whatever ``work`` raises for a batch of this item alone; company never fails an item.
        """
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._serve_waiting())
        return await answer

    async def _serve_waiting(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), self._max_items)
            batch = [self._waiting.popleft() for _ in range(count)]
            batch = [(item, answer) for item, answer in batch if not answer.done()]  # whose caller has gone
            await self._serve(batch)

    async def _serve(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._serve([one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, answer), result in zip(batch, results, strict=True):
            if not answer.done():
                answer.set_result(result)
