"""Who is let in: so much work waits as can be done in good time, and the rest is told at once when to come again."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from serving.errors import ApiError

Priority = Literal["interactive", "bulk"]

BULK_SHARE = 0.5  # of the longest wait: so much of the queue is kept free of bulk work
HALF_LIFE_S = 10.0  # of busy time, after which a measured rate counts half
LONGEST_RETRY_S = 60


class Rate:
    """How much work is done in a second in which there is any, recent work counting most.

    Args:
        clock: seconds that never fall.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._work = self._busy_s = 0.0
        self._since: float | None = None

    def begin(self) -> None:
        """Work begins, and there was none."""
        self._since = self._clock()

    def done(self, work: float, more: bool) -> None:
        """Some work is done, and there is more or none."""
        now = self._clock()
        assert self._since is not None, "work was begun"
        spent, self._since = now - self._since, now if more else None
        kept = 0.5 ** (spent / HALF_LIFE_S)
        self._work, self._busy_s = kept * self._work + work, kept * self._busy_s + spent

    @property
    def per_second(self) -> float:
        """Work a second; infinite until some was measured."""
        return self._work / self._busy_s if self._busy_s > 0.05 and self._work > 0 else math.inf


class Admission:
    """Admits work as long as what is let in can be expected to be done within a time.

    Work is measured in the caller's unit: tokens for texts, requests for searches. What alone is larger than the bound
    is let in where nothing waits.

    Args:
        longest_wait_s: that a request may expect; bulk work half of it.
        always: work that may wait at any rate: until one was measured, and so that there is always a batch to make.
        clock: seconds that never fall.
    """

    def __init__(self, longest_wait_s: float, always: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_wait_s, self._always = longest_wait_s, always
        self._rate = Rate(clock)
        self._waiting = 0.0

    @property
    def waiting(self) -> float:
        """Work that was let in and is not done."""
        return self._waiting

    @property
    def expected_wait_s(self) -> float:
        """Until what was let in is done."""
        return self._waiting / self._rate.per_second

    @contextmanager
    def admitted(self, work: float, priority: Priority = "interactive") -> Iterator[None]:
        """Let work in for the time of the block.

        Raises:
            ApiError: if too much waits; it says when to come again.
        """
        self._check(work, priority)
        if self._waiting == 0:
            self._rate.begin()
        self._waiting += work
        done = 0.0
        try:
            yield
            done = work
        finally:
            self._waiting = max(0.0, self._waiting - work)
            self._rate.done(done, more=self._waiting > 0)

    def _check(self, work: float, priority: Priority) -> None:
        share = BULK_SHARE if priority == "bulk" else 1.0
        bound = share * max(self._always, self._longest_wait_s * self._rate.per_second)
        if self._waiting == 0 or self._waiting + work <= bound:
            return
        retry_s = min(LONGEST_RETRY_S, max(1, math.ceil(self.expected_wait_s - share * self._longest_wait_s / 2)))
        raise ApiError(
            "overloaded",
            f"the service is at its limit: what waits takes {self.expected_wait_s:.1f} s; come again in {retry_s} s",
            code="queue_full",
            headers={"Retry-After": str(retry_s)},
        )
