"""Concurrent calls become batches, in order, and none fails for another's fault."""

import asyncio
import threading
import time

import pytest

from serving.batcher import Coalescer


def test_calls_that_arrive_during_a_batch_make_the_next() -> None:
    batches: list[list[int]] = []

    def double(items: list[int]) -> list[int]:
        batches.append(items)
        time.sleep(0.02)
        return [2 * item for item in items]

    async def ask() -> list[int]:
        coalesced = Coalescer[int, int](double, max_items=4)
        return await asyncio.gather(*(coalesced(i) for i in range(10)))

    assert asyncio.run(ask()) == [2 * i for i in range(10)]
    assert [item for batch in batches for item in batch] == list(range(10))
    assert max(map(len, batches)) == 4
    assert len(batches) <= 4


def test_a_lone_call_does_not_wait_and_later_calls_work_too() -> None:
    async def ask() -> list[str]:
        coalesced = Coalescer[str, str](lambda items: [item.upper() for item in items], max_items=100)
        return [await coalesced("a"), await coalesced("b")]

    assert asyncio.run(ask()) == ["A", "B"]


def test_one_bad_item_does_not_fail_the_others() -> None:
    def invert(items: list[float]) -> list[float]:
        return [1 / item for item in items]

    async def ask() -> list[float | BaseException]:
        coalesced = Coalescer[float, float](invert, max_items=10)
        return await asyncio.gather(*(coalesced(i) for i in (1.0, 0.0, 2.0)), return_exceptions=True)

    one, bad, half = asyncio.run(ask())
    assert (one, half) == (1.0, 0.5)
    assert isinstance(bad, ZeroDivisionError)


def test_work_stays_off_the_event_loop() -> None:
    threads: set[int] = set()

    def note(items: list[int]) -> list[int]:
        threads.add(threading.get_ident())
        return items

    async def ask() -> int:
        return await Coalescer[int, int](note, max_items=2)(1)

    assert asyncio.run(ask()) == 1
    assert threads.isdisjoint({threading.get_ident()})


def test_a_caller_that_gave_up_is_left_out() -> None:
    seen: list[int] = []

    def slow(items: list[int]) -> list[int]:
        seen.extend(items)
        time.sleep(0.05)
        return items

    async def ask() -> int:
        coalesced = Coalescer[int, int](slow, max_items=1)
        first = asyncio.create_task(coalesced(1))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(coalesced(2))
        third = asyncio.create_task(coalesced(3))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        return await first + await third

    assert asyncio.run(ask()) == 4
    assert seen == [1, 3]
