"""Answers that were given before, and those that are being made: equal questions are worked on once."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from serving.context import own_context

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
        most: weight of all answers that are kept; 0 keeps none, and still joins callers.
        keep: whether an answer may be given again.
        weigh: an answer.
        count: told of each question ``hit`` where its answer was kept, ``joined`` where it was being made, or ``miss``.
    """

    def __init__(
        self,
        most: int,
        keep: Callable[[Answer], bool] = lambda answer: True,
        weigh: Callable[[Answer], int] = lambda answer: 1,
        count: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._most, self._keep, self._weigh, self._count = most, keep, weigh, count
        self._kept: OrderedDict[Hashable, Answer] = OrderedDict()
        self._weight = 0
        self._flights: dict[Hashable, _Flight[Answer]] = {}

    async def get(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """The answer to a question.

        Args:
            key: equal for questions that have one answer.
            make: makes it where there is none.

        Raises:
            Exception: any that ``make`` raises.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            self._count("hit")
            return self._kept[key]
        self._count("joined" if key in self._flights else "miss")
        while True:
            flight = self._flights.get(key)
            if flight is None:
                # In a context of its own: the caller's may be cancelled, with all that was asked for in it.
                task = asyncio.get_running_loop().create_task(self._make(key, make), context=own_context())
                flight = self._flights[key] = _Flight(task)
            flight.waiting += 1
            try:
                return await asyncio.shield(flight.task)
            except asyncio.CancelledError:
                task_of_caller = asyncio.current_task()
                if not flight.task.cancelled() or task_of_caller is None or task_of_caller.cancelling():
                    raise  # the caller has gone; else the work was cancelled by somebody else, and is asked for again
            finally:
                flight.waiting -= 1
                if flight.waiting == 0 and not flight.task.done():
                    self._flights.pop(key, None)
                    flight.task.cancel()

    async def _make(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        try:
            answer = await make()
        finally:
            if self._flights.get(key) is not None and self._flights[key].task is asyncio.current_task():
                del self._flights[key]
        if self._keep(answer) and self._weigh(answer) <= self._most:
            self._kept[key] = answer
            self._weight += self._weigh(answer)
            while self._weight > self._most:
                _, gone = self._kept.popitem(last=False)
                self._weight -= self._weigh(gone)
        return answer
