"""Answers that were given before, and those that are being made: equal questions are worked on once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


@dataclass
class _Flight(Generic[Answer]):
    """An answer that is being made, and how many wait for it."""

    task: "asyncio.Task[Answer]"
    waiting: int = 0


class SharedAnswers(Generic[Answer]):
    """Keeps the answers that were asked for last, and joins callers that ask the same at once (single flight).

    The work goes on for as long as anybody waits for it, whoever asked first; when all have gone it is cancelled. An
    error is told to all who wait, and not kept.

    Args:
        most: answers that are kept; 0 keeps none, and still joins callers.
        keep: whether an answer may be given again.
    """

    def __init__(self, most: int, keep: Callable[[Answer], bool] = lambda answer: True) -> None:
        self._most, self._keep = most, keep
        self._kept: OrderedDict[Hashable, Answer] = OrderedDict()
        self._flights: dict[Hashable, _Flight[Answer]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to a question.

        Args:
            key: equal for questions that have one answer.
            make: makes it where there is none.

        Raises:
            Exception: any that ``make`` raises.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(self._make(key, make)))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                self._flights.pop(key, None)
                flight.task.cancel()

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            answer = await make()
        finally:
            if self._flights.get(key) is not None and self._flights[key].task is asyncio.current_task():
                del self._flights[key]
        if self._most and self._keep(answer):
            self._kept[key] = answer
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return answer
