"""Equal questions are worked on once, at once and later; nobody's going away fails another."""

import asyncio

import pytest

from serving.answers import SharedAnswers


class Work:
    """Counts how often it is done."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.done = self.cancelled = 0
        self._seconds = seconds

    async def __call__(self) -> int:
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.done += 1
        return self.done


def test_those_who_ask_at_once_share_the_work_and_those_who_come_later_the_answer() -> None:
    async def ask() -> tuple[list[int], int]:
        answers, work = SharedAnswers[int](10), Work()
        found = await asyncio.gather(*(answers.get("q", work) for _ in range(20)))
        return found, await answers.get("q", work)

    assert asyncio.run(ask()) == ([1] * 20, 1)


def test_the_answers_asked_for_last_are_kept() -> None:
    async def ask() -> list[int]:
        answers, works = SharedAnswers[int](2), {key: Work(0.0) for key in "abc"}
        return [await answers.get(key, works[key]) for key in "abacab"]

    # b went when c came, since a had been asked for after it
    assert asyncio.run(ask()) == [1, 1, 1, 1, 1, 2]


def test_none_is_kept_where_none_is_to_be_and_what_may_not_be() -> None:
    async def ask() -> tuple[list[int], list[int]]:
        none, even = SharedAnswers[int](0), SharedAnswers[int](10, keep=lambda answer: answer % 2 == 0)
        first, second = Work(0.0), Work(0.0)
        return [await none.get("q", first) for _ in range(3)], [await even.get("q", second) for _ in range(4)]

    assert asyncio.run(ask()) == ([1, 2, 3], [1, 2, 2, 2])


def test_whoever_asked_first_may_go_away() -> None:
    async def ask() -> tuple[int, int]:
        answers, work = SharedAnswers[int](10), Work(0.05)
        first = asyncio.create_task(answers.get("q", work))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(answers.get("q", work))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second, work.cancelled

    assert asyncio.run(ask()) == (1, 0)


def test_when_all_have_gone_the_work_is_dropped_and_can_be_asked_for_again() -> None:
    async def ask() -> tuple[int, int]:
        answers, work = SharedAnswers[int](10), Work(0.05)
        tasks = [asyncio.create_task(answers.get("q", work)) for _ in range(3)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        return work.cancelled, await answers.get("q", work)

    assert asyncio.run(ask()) == (1, 1)


def test_an_error_is_told_to_all_and_not_kept() -> None:
    async def ask() -> list[object]:
        answers, tries = SharedAnswers[int](10), iter([True, False])

        async def work() -> int:
            await asyncio.sleep(0.01)
            if next(tries):
                raise ValueError("down")
            return 7

        failed = await asyncio.gather(*(answers.get("q", work) for _ in range(3)), return_exceptions=True)
        return [*map(str, failed), await answers.get("q", work)]

    assert asyncio.run(ask()) == ["down", "down", "down", 7]
