"""When a request that failed is tried again: exponential back-off with full jitter, and what the server asked for."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

Answer = TypeVar("Answer")


class Retryable(Exception):
    """A request that failed and may succeed another time.

    Args:
        reason: what happened, in a few words.
        after_s: seconds that the server asks to wait; None where it asks for nothing.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s


class RequestFailed(Exception):
    """A request that failed and is not retried; the text says how often it was tried and how it failed last."""


def retry(
    ask: Callable[[], Answer],
    retries: int,
    backoff_s: float,
    longest_wait_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """The answer of ``ask``, tried again as long as it raises ``Retryable``.

    The wait before retry n is drawn evenly from 0 to ``backoff_s * 2^n`` ("full jitter", Brooker, AWS Architecture
    Blog, 2015): clients that failed together do not come back together. A server that names a time gets at least that.

    Args:
        ask: one try.
        retries: further tries after the first.
        backoff_s: scale of the waits, in seconds.
        longest_wait_s: no wait is longer; where a server asks for a longer one, there is no further try.
        sleep: waits for some seconds.

    Raises:
        RequestFailed: if the last try failed too, or the server asks for a longer wait.
    """
    attempt = 0
    while True:
        try:
            return ask()
        except Retryable as error:
            if error.after_s is not None and error.after_s > longest_wait_s:
                raise RequestFailed(f"{error.reason}; it asks to wait {error.after_s:.0f} s") from error
            if attempt == retries:
                tries = "once" if attempt == 0 else f"{attempt + 1} times"
                raise RequestFailed(f"{error.reason} (tried {tries})") from error
            drawn = random.uniform(0, min(longest_wait_s, backoff_s * 2**attempt))
            sleep(max(drawn, error.after_s or 0.0))
        attempt += 1


def seconds_until(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number of them, or a date; None where it is neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
