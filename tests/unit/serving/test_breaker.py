"""Nobody waits for an encoder that is down, and it is found again beside the questions."""

import threading
import time
from collections.abc import Callable

import pytest

from data.errors import EncoderUnavailable, InputError
from serving import breaker as serving_breaker
from serving.breaker import Breaker


class Asked:
    """What is asked: it answers while it is well, and counts how often it was asked."""

    def __init__(self) -> None:
        self.well = True
        self.asked = 0
        self.error: Exception = EncoderUnavailable("down", "Wait.")

    def __call__(self) -> str:
        self.asked += 1
        if not self.well:
            raise self.error
        return "vectors"


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def fail(breaker: Breaker, asked: Callable[[], str], times: int) -> None:
    for _ in range(times):
        with pytest.raises(EncoderUnavailable, match="down"):
            breaker.call(asked)


def test_it_opens_after_failures_in_a_row_and_then_asks_no_more() -> None:
    asked, breaker = Asked(), Breaker(failures=3, retry_s=60)
    asked.well = False
    fail(breaker, asked, 2)
    asked.well = True
    assert breaker.call(asked) == "vectors"
    asked.well = False
    fail(breaker, asked, 2)
    assert not breaker.is_open
    fail(breaker, asked, 5)
    assert breaker.is_open and asked.asked == 6


def test_it_closes_when_a_try_beside_the_callers_succeeds() -> None:
    asked, breaker = Asked(), Breaker(failures=1, retry_s=0.0)
    asked.well = False
    fail(breaker, asked, 1)
    fail(breaker, asked, 1)  # starts a try, which fails too
    until(lambda: asked.asked == 2)
    asked.well = True
    until(lambda: _closed_after_call(breaker, asked))
    assert breaker.call(asked) == "vectors"


def _closed_after_call(breaker: Breaker, asked: Asked) -> bool:
    if breaker.is_open:
        with pytest.raises(EncoderUnavailable):
            breaker.call(asked)
            raise EncoderUnavailable("it was closed meanwhile", "")
    return not breaker.is_open


def test_callers_do_not_wait_for_the_try_and_there_is_one_at_a_time() -> None:
    asked, breaker, go = Asked(), Breaker(failures=1, retry_s=0.0), threading.Event()
    asked.well = False
    fail(breaker, asked, 1)
    tries: list[int] = []

    def slow() -> str:
        tries.append(1)
        go.wait(20)
        return "vectors"

    fail(breaker, slow, 20)
    assert len(tries) <= 1
    go.set()
    until(lambda: not breaker.is_open)
    assert tries == [1]


def test_one_failure_that_took_long_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_breaker, "LONG_S", -1.0)
    asked, breaker = Asked(), Breaker(failures=100, retry_s=60)
    asked.well = False
    fail(breaker, asked, 1)
    assert breaker.is_open


def test_what_is_no_failure_of_the_encoder_neither_opens_it_nor_keeps_it_open() -> None:
    asked, breaker = Asked(), Breaker(failures=1, retry_s=0.0)
    asked.well, asked.error = False, InputError("wrong key", "Correct it.")
    for _ in range(3):
        with pytest.raises(InputError, match="wrong key"):
            breaker.call(asked)
    assert not breaker.is_open
    asked.error = EncoderUnavailable("down", "Wait.")
    fail(breaker, asked, 1)
    asked.error = InputError("wrong key", "Correct it.")
    fail(breaker, asked, 1)
    until(lambda: not breaker.is_open)
