"""Who is let in: so much work waits as can be done in good time, and the rest is told at once when to come again."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from serving.errors import ApiError

Priority = Literal["interactive", "bulk"]

ALWAYS = 4  # full batches that may wait at any rate
BULK_SHARE = 0.5  # of the longest wait: so much of the queue is kept free of bulk work
HALF_LIFE_S = 10.0  # of measured time, after which a rate counts half
EXPECTED_S = 10.0  # of measured time, that an expected rate counts as: long lists end late, and all at once
MEASURED_S, MEASURED = 0.5, 8  # seconds and pieces of work of which a rate is believed: the first piece ends late
LONGEST_RETRY_S = 60


class Rate:
    """How much work is done in a second, recent work counting most.

    It is measured while at least a full batch waits: one request at a time is done much more slowly than many are.
    """

    def __init__(self) -> None:
        self._work = self._seconds = 0.0
        self._pieces = 0

    def expect(self, per_second: float) -> None:
        """Begin with a rate that was measured otherwise."""
        self._work, self._seconds, self._pieces = EXPECTED_S * per_second, EXPECTED_S, MEASURED

    def add(self, work: float, seconds: float) -> None:
        """So much was done in so long."""
        kept = 0.5 ** (seconds / HALF_LIFE_S)
        self._work, self._seconds = kept * self._work + work, kept * self._seconds + seconds
        self._pieces += work > 0

    @property
    def per_second(self) -> float:
        """Work a second; infinite until some was measured."""
        believed = self._seconds >= MEASURED_S and self._pieces >= MEASURED
        return self._work / self._seconds if believed else math.inf


class Admission:
    """Admits work as long as what is let in can be expected to be done within a time.

    Work is measured in the caller's unit: tokens for texts, requests for searches. What alone is larger than the bound
    is let in where nothing waits.

    Args:
        longest_wait_s: that a request may expect; bulk work half of it.
        full: work of a full batch.
        clock: seconds that never fall.
    """

    def __init__(self, longest_wait_s: float, full: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_wait_s, self._clock = longest_wait_s, clock
        self.full = full
        self._rate, self._waiting = Rate(), 0.0
        self._at_s, self._full_s = clock(), 0.0  # when time was last counted; that with a full batch, of all time
        self._refusal: ApiError | None = None

    @property
    def waiting(self) -> float:
        """Work that was let in and is not done."""
        return self._waiting

    @property
    def expected_wait_s(self) -> float:
        """Until what was let in is done."""
        return self._waiting / self._rate.per_second

    @property
    def refusal(self) -> ApiError | None:
        """What any request would be told now, whatever its size, or None where its size decides.

        It is there from when work of less than a full batch was refused until some work is done, and takes no
        reckoning: what is refused is to take next to nothing from what is worked on.
        """
        return self._refusal

    def expect(self, per_second: float) -> None:
        """Reckon with a rate from the start: the first pieces of a rush end late, and would say that all are slow."""
        self._rate.expect(per_second)

    @contextmanager
    def admitted(self, work: float, priority: Priority = "interactive") -> Iterator[None]:
        """Let work in for the time of the block.

        Raises:
            ApiError: if too much waits; it says when to come again.
        """
        self._check(work, priority)
        self._let_pass()
        self._waiting += work
        since_s, full_s, done = self._at_s, self._full_s, 0.0
        try:
            yield
            done = work
        finally:
            self._let_pass()
            self._count(done, since_s, full_s)
            self._waiting = max(0.0, self._waiting - work)
            self._refusal = None

    def _let_pass(self) -> None:
        """Count the time since the last call, if there was a full batch to do all that time."""
        now = self._clock()
        if self._waiting >= self.full:
            self._rate.add(0.0, now - self._at_s)
            self._full_s += now - self._at_s
        self._at_s = now

    def _count(self, done: float, since_s: float, full_s: float) -> None:
        """Count work that was let in at a time, when there had been a full batch for so long.

        It counts by the share of its stay in which there was one. Of a batch that ends, the first piece would else
        count and the rest not, as what waits falls below a full batch with each, and the rate would look many times
        lower than it is where little more than a full batch waits.
        """
        stay_s = self._at_s - since_s
        share = (self._full_s - full_s) / stay_s if stay_s > 0 else 0.0
        self._rate.add(share * done, 0.0)

    def _check(self, work: float, priority: Priority) -> None:
        share = BULK_SHARE if priority == "bulk" else 1.0
        bound = share * max(ALWAYS * self.full, self._longest_wait_s * self._rate.per_second)
        if self._waiting == 0 or self._waiting + work <= bound:
            return
        retry_s = min(LONGEST_RETRY_S, max(1, math.ceil(self.expected_wait_s - share * self._longest_wait_s / 2)))
        error = ApiError(
            "overloaded",
            f"the service is at its limit: what waits takes {self.expected_wait_s:.1f} s; come again in {retry_s} s",
            code="queue_full",
            headers={"Retry-After": str(retry_s)},
        )
        if work <= self.full and priority == "interactive":
            self._refusal = error
        raise error
