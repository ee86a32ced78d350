"""Many concurrent calls, few batches: what a model or an index does best, asked one at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Generic, TypeVar

from data.errors import TextRefused
from serving.context import add_phase
from serving.pace import Pace
from serving.window import TokenWindow

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Call(Generic[Item, Result]):
    """Items that were asked for together, and what has become of them."""

    def __init__(self, items: Sequence[Item], answer: "asyncio.Future[list[Result]]") -> None:
        self.items, self.answer = items, answer
        self.results: list[Result | None] = [None] * len(items)
        self.missing = len(items)
        self.arrived = self.began = time.perf_counter()

    def begin(self) -> None:
        """Its first batch goes to work."""
        if self.missing == len(self.items):
            self.began = time.perf_counter()

    def settle(self, place: int, result: Result) -> None:
        """One of its items is done."""
        self.results[place] = result
        self.missing -= 1
        if self.missing == 0 and not self.answer.done():
            self.answer.set_result(self.results)  # type: ignore[arg-type]  # none is missing

    def fail(self, error: Exception) -> None:
        """None of it will be answered."""
        if not self.answer.done():
            self.answer.set_exception(error)


Waiting = tuple[_Call[Item, Result], int]  # a call, and the place of one of its items


class Batcher(Generic[Item, Result]):
    """Gathers the calls that arrive while a batch is being worked on into the next batches.

    Nothing waits for company: a call that finds a worker idle starts at once, alone, and under load batches grow by
    themselves. Threads do the work, so the event loop stays free for those who arrive. Calls are served in order, but
    for a ``length``: then items of like length are served together, and a ``TokenWindow`` says who is next. A call
    whose caller has gone is not worked on.

    Args:
        work: takes a list of items and returns one result for each, in order.
        max_items: most items in a batch.
        length: tokens of an item; every item counts the same where None.
        max_tokens: largest padded area of a batch; ``max_items`` alone bounds it where None.
        max_age_s: seconds after which a call that was not served is next, before any other.
        timeout_s: seconds after which a call fails, its waiting included; None is no limit.
        text_of: the text by which a refusal names an item.
        workers: batches at once, each in a thread.
        padded: whether a batch costs its padded area; the sum of its lengths where not.
        target_s: seconds within which an item is to be done, its waiting included: a ``Pace`` brings ``max_tokens`` and
            ``max_age_s`` below what is given here where they take longer. Both stay where None.
        phases: whether the request is told where the time went, as ``queue`` and ``infer``: those are a model's.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result]],
        max_items: int,
        length: Callable[[Item], int] | None = None,
        max_tokens: int | None = None,
        max_age_s: float = 0.0,
        timeout_s: float | None = None,
        text_of: Callable[[Item], str] = str,
        workers: int = 1,
        padded: bool = True,
        target_s: float | None = None,
        phases: bool = True,
    ) -> None:
        self._work, self._text_of, self._most_workers = work, text_of, workers
        self._length, self._batch_tokens = length, max_tokens or max_items
        self._timeout_s = timeout_s
        self._padded, self._phases = padded, phases
        self._pace = None if target_s is None else Pace(target_s, max_tokens or max_items, max_age_s)
        self._waiting = TokenWindow[Waiting[Item, Result]](max_tokens or max_items, max_items, max_age_s, padded)
        self._threads = ThreadPoolExecutor(workers)
        self._workers: set[asyncio.Task[None]] = set()  # those that will look for work once more
        self._began: dict[int, float] = {}  # of each batch that is worked on, by its number
        self._numbers = count()

    @property
    def longest_s(self) -> float:
        """How long the batch has been worked on that is worked on longest, in seconds; 0 where none is."""
        return time.monotonic() - min(self._began.values()) if self._began else 0.0

    @property
    def batches(self) -> float:
        """Full batches of work that wait or are worked on, for each worker."""
        return (self._waiting.tokens / self._batch_tokens + len(self._began)) / self._most_workers

    def close(self) -> None:
        """End its threads, once what they work on is done; nothing is asked any more."""
        self._threads.shutdown(wait=False)

    async def __call__(self, item: Item) -> Result:
        """The result for one item; see ``many``."""
        (result,) = await self.many([item])
        return result

    async def many(self, items: Sequence[Item]) -> list[Result]:
        """The results for items that are asked for together, in order; they need not be in one batch.

        Where the time went is added to the phases ``queue`` and ``infer`` of the request.

        Raises:
            TextRefused: if an item is refused; this never fails other calls in its batch.
            TimeoutError: if there is no result within ``timeout_s``.
            Exception: any other that ``work`` raises for a batch that has items of the call.
        """
        if not items:
            return []
        call = _Call[Item, Result](items, asyncio.get_running_loop().create_future())
        lengths = [1] * len(items) if self._length is None else [self._length(item) for item in items]
        self._waiting.add([(call, place) for place in range(len(items))], lengths, time.monotonic())
        if len(self._workers) < self._most_workers:
            self._workers.add(asyncio.create_task(self._serve_waiting()))
        async with asyncio.timeout(self._timeout_s):
            results = await call.answer
        if self._phases:
            add_phase("queue", call.arrived, call.began)
            add_phase("infer", call.began, time.perf_counter())
        return results

    async def _serve_waiting(self) -> None:
        try:
            while batch := self._waiting.take(time.monotonic(), self._most_workers):
                batch = [(call, place) for call, place in batch if not call.answer.done()]  # whose caller has gone
                await self._serve(batch)
        finally:  # in one step with the last look: who comes now finds that there is one worker less
            worker = asyncio.current_task()
            assert worker is not None, "it runs as a task"
            self._workers.discard(worker)

    async def _serve(self, batch: list[Waiting[Item, Result]]) -> None:
        if not batch:
            return
        for call, _ in batch:
            call.begin()
        try:
            results = await self._worked([call.items[place] for call, place in batch])
        except TextRefused as error:
            refused = {call for call, place in batch if self._text_of(call.items[place]) == error.text}
            if not refused and len(batch) == 1:
                refused = {batch[0][0]}
            _fail(refused, error)
            rest = [(call, place) for call, place in batch if call not in refused]
            # The error does not always name the item that is refused; then it is in one of the halves.
            halves = [rest] if refused else [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
            for half in halves:
                await self._serve([(call, place) for call, place in half if not call.answer.done()])
            return
        except Exception as error:  # not the fault of one: asking again for each would take as many times as long
            _fail({call for call, _ in batch}, error)
            return
        for (call, place), result in zip(batch, results, strict=True):
            call.settle(place, result)

    async def _worked(self, items: list[Item]) -> Sequence[Result]:
        number, loop = next(self._numbers), asyncio.get_running_loop()
        self._began[number] = time.monotonic()
        try:
            results = await loop.run_in_executor(self._threads, self._work, items)
        finally:
            began = self._began.pop(number)
        if self._pace is not None:
            self._pace.add(self._cost(items), time.monotonic() - began)
            self._waiting.max_tokens, self._waiting.max_age_s = self._pace.max_tokens, self._pace.max_age_s
        return results

    def _cost(self, items: list[Item]) -> int:
        lengths = [1 if self._length is None else self._length(item) for item in items]
        return max(lengths) * len(lengths) if self._padded else sum(lengths)


def _fail(calls: "set[_Call[Any, Any]]", error: Exception) -> None:
    for call in calls:
        call.fail(error)
