"""Concurrent calls become batches, in order, and none fails for another's fault."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from data.errors import EncoderUnavailable, InputError, TextRefused
from serving.batcher import Batcher
from serving.context import Spent, start_phases


def test_calls_that_arrive_during_a_batch_make_the_next() -> None:
    batches: list[list[int]] = []

    def double(items: list[int]) -> list[int]:
        batches.append(items)
        time.sleep(0.02)
        return [2 * item for item in items]

    async def ask() -> list[int]:
        coalesced = Batcher[int, int](double, max_items=4)
        return await asyncio.gather(*(coalesced(i) for i in range(10)))

    assert asyncio.run(ask()) == [2 * i for i in range(10)]
    assert [item for batch in batches for item in batch] == list(range(10))
    assert max(map(len, batches)) == 4
    assert len(batches) <= 4


def test_a_lone_call_does_not_wait_and_later_calls_work_too() -> None:
    async def ask() -> list[str]:
        coalesced = Batcher[str, str](lambda items: [item.upper() for item in items], max_items=100)
        return [await coalesced("a"), await coalesced("b")]

    assert asyncio.run(ask()) == ["A", "B"]


def ask_together(work: Callable[[list[str]], list[str]], items: Sequence[str]) -> list[str | BaseException]:
    async def ask() -> list[str | BaseException]:
        coalesced = Batcher[str, str](work, max_items=len(items))
        return await asyncio.gather(*map(coalesced, items), return_exceptions=True)

    return asyncio.run(ask())


@pytest.mark.parametrize("named", [True, False])
def test_a_refused_item_does_not_fail_the_others(named: bool) -> None:
    worked: list[int] = []

    def shout(items: list[str]) -> list[str]:
        worked.append(len(items))
        for item in items:
            if item.startswith("bad"):
                raise TextRefused(f"{item} is refused", "Shorten it.", item if named else "")
        return [item.upper() for item in items]

    answers = ask_together(shout, ["a", "bad1", "c", "bad2", *"defg"])
    assert [answer for answer in answers if isinstance(answer, str)] == list("ACDEFG")
    assert [answer.problem for answer in answers if isinstance(answer, TextRefused)] == [
        "bad1 is refused",
        "bad2 is refused",
    ]
    assert len(worked) <= (3 if named else 9)


@pytest.mark.parametrize("error", [EncoderUnavailable("down", "Wait."), InputError("wrong key", ""), OSError("reset")])
def test_what_is_nobodys_fault_fails_the_batch_at_once(error: Exception) -> None:
    asked: list[int] = []

    def fail(items: list[str]) -> list[str]:
        asked.append(len(items))
        raise error

    assert ask_together(fail, list("abcd")) == [error] * 4
    assert asked == [4]


def test_a_call_is_given_up_after_its_time_and_the_next_is_served() -> None:
    async def ask() -> str:
        coalesced = Batcher[str, str](lambda items: [time.sleep(0.3) or item for item in items], 1, timeout_s=0.1)
        with pytest.raises(TimeoutError):
            await coalesced("slow")
        await asyncio.sleep(0.4)
        quick = Batcher[str, str](lambda items: items, 1, timeout_s=20)
        return await quick("b")

    assert asyncio.run(ask()) == "b"


def test_work_stays_off_the_event_loop() -> None:
    threads: set[int] = set()

    def note(items: list[int]) -> list[int]:
        threads.add(threading.get_ident())
        return items

    async def ask() -> int:
        return await Batcher[int, int](note, max_items=2)(1)

    assert asyncio.run(ask()) == 1
    assert threads.isdisjoint({threading.get_ident()})


def test_a_caller_that_gave_up_is_left_out() -> None:
    seen: list[int] = []

    def slow(items: list[int]) -> list[int]:
        seen.extend(items)
        time.sleep(0.05)
        return items

    async def ask() -> int:
        coalesced = Batcher[int, int](slow, max_items=1)
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


def test_items_asked_for_together_come_back_in_order_from_several_batches() -> None:
    batches: list[int] = []

    def double(items: list[int]) -> list[int]:
        batches.append(len(items))
        return [2 * item for item in items]

    async def ask() -> list[list[int]]:
        batcher = Batcher[int, int](double, 8, length=lambda item: 1 + item % 7, max_tokens=30, max_age_s=1.0)
        return await asyncio.gather(batcher.many(range(50)), batcher.many([]), batcher.many([100]))

    assert asyncio.run(ask()) == [[2 * item for item in range(50)], [], [200]]
    assert sum(batches) == 51 and max(batches) <= 8


def test_a_refused_item_fails_its_whole_call_and_no_other() -> None:
    def shout(items: list[str]) -> list[str]:
        for item in items:
            if item == "bad":
                raise TextRefused("bad is refused", "Shorten it.", item)
        return [item.upper() for item in items]

    async def ask() -> list[list[str] | BaseException]:
        batcher = Batcher[str, str](shout, 100)
        return await asyncio.gather(batcher.many(["a", "bad", "b"]), batcher.many(["c", "d"]), return_exceptions=True)

    first, second = asyncio.run(ask())
    assert isinstance(first, TextRefused) and second == ["C", "D"]


def test_a_call_says_how_long_it_waited_and_was_worked_on() -> None:
    async def ask() -> Spent:
        batcher = Batcher[int, int](lambda items: [time.sleep(0.05) or item for item in items], 1)
        first = asyncio.create_task(batcher(1))
        await asyncio.sleep(0.01)
        spent = start_phases()
        await batcher(2)
        await first
        return spent

    spent = asyncio.run(ask())
    assert spent.seconds["queue"] > 0.02 and spent.seconds["infer"] > 0.04
    queue, infer = spent.blocks
    assert infer.began == pytest.approx(queue.began + queue.seconds)  # one after the other, as they were


def test_several_workers_work_side_by_side_and_no_more_than_there_are() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def slow(items: list[int]) -> list[int]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return items

    async def ask() -> list[int]:
        batcher = Batcher[int, int](slow, max_items=4, workers=2)
        first = await asyncio.gather(*(batcher(number) for number in range(40)))
        return [*first, await batcher(40)]

    assert asyncio.run(ask()) == list(range(41))
    assert most == 2


def test_a_batch_that_hangs_is_seen() -> None:
    go_on = threading.Event()

    def work(items: list[int]) -> list[int]:
        assert go_on.wait(10)
        return items

    async def case() -> None:
        batcher = Batcher[int, int](work, 1, workers=2)
        assert batcher.longest_s == 0.0
        first = asyncio.create_task(batcher(1))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(batcher(2))
        await asyncio.sleep(0.05)
        assert 0.14 < batcher.longest_s < 5
        third = asyncio.create_task(batcher(3))
        await asyncio.sleep(0.05)
        assert batcher.batches == 1.5  # two are worked on and one waits, for two workers
        go_on.set()
        assert await asyncio.gather(first, second, third) == [1, 2, 3]
        assert batcher.longest_s == batcher.batches == 0.0

    asyncio.run(case())
