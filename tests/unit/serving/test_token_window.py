"""The online window: every item once, within its area, none left waiting; and the coalescer on top of it."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batcher import Coalescer, TokenWindow

arrivals = st.lists(st.tuples(st.integers(0, 600), st.floats(0, 3)), max_size=60)  # length, seconds since the last
sizes = st.tuples(st.integers(1, 5000), st.integers(1, 16))


def serve(
    arriving: list[tuple[int, float]], window: TokenWindow[int], work_s: float
) -> tuple[list[float], list[tuple[float, list[int]]]]:
    """Play arrivals against a worker that takes ``work_s`` a batch: when each came, when each batch was taken."""
    came: list[float] = []
    clock = 0.0
    for _, since in arriving:
        came.append((came[-1] if came else 0.0) + since)
    taken: list[tuple[float, list[int]]] = []
    arrived = 0
    while arrived < len(came) or len(window):
        while arrived < len(came) and came[arrived] <= clock:
            window.add(arrived, arriving[arrived][0], came[arrived])
            arrived += 1
        batch = window.take(clock)
        if batch:
            taken.append((clock, batch))
            clock += work_s
        else:
            clock = came[arrived]
    return came, taken


@given(arrivals, sizes, st.floats(0, 5), st.floats(0.01, 4))
def test_nothing_is_lost_or_doubled_and_order_within_a_batch_is_that_of_arrival(
    arriving: list[tuple[int, float]], size: tuple[int, int], age: float, work_s: float
) -> None:
    _, taken = serve(arriving, TokenWindow(*size, age), work_s)
    assert sorted(item for _, batch in taken for item in batch) == list(range(len(arriving)))
    assert all(batch == sorted(batch) for _, batch in taken)


@given(arrivals, sizes, st.floats(0, 5), st.floats(0.01, 4))
def test_area_and_count_are_kept_but_for_a_single_long_item(
    arriving: list[tuple[int, float]], size: tuple[int, int], age: float, work_s: float
) -> None:
    _, taken = serve(arriving, TokenWindow(*size, age), work_s)
    for _, batch in taken:
        assert len(batch) <= size[1]
        assert len(batch) == 1 or max(arriving[item][0] for item in batch) * len(batch) <= size[0]


@given(arrivals, sizes, st.floats(0, 5), st.floats(0.01, 4))
def test_nothing_waits_beyond_its_age_and_the_turns_of_those_before_it(
    arriving: list[tuple[int, float]], size: tuple[int, int], age: float, work_s: float
) -> None:
    came, taken = serve(arriving, TokenWindow(*size, age), work_s)
    when = {item: clock for clock, batch in taken for item in batch}
    for item, clock in when.items():
        before = sum(when[other] >= came[item] for other in range(item))
        assert clock - came[item] <= age + (before + 1) * work_s + 1e-9


def test_an_old_item_goes_before_a_fuller_batch() -> None:
    def window() -> TokenWindow[str]:
        filled = TokenWindow[str](100, 10, 1.0)
        filled.add("long", 100, 0.0)
        for name in "abc":
            filled.add(name, 10, 0.5)
        return filled

    young, old = window(), window()
    assert young.take(0.9) == ["a", "b", "c"] and young.take(0.9) == ["long"] and young.take(0.9) == []
    assert old.take(1.0) == ["long"] and old.take(1.0) == ["a", "b", "c"]


def test_no_age_is_first_come_first_served() -> None:
    window = TokenWindow[int](100, 10, 0.0)
    for item in range(5):
        window.add(item, 60, float(item))
    assert [window.take(9.0) for _ in range(5)] == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize("tokens", [300, 1000])
def test_calls_are_coalesced_by_area_and_each_gets_its_own_answer(tokens: int) -> None:
    batches: list[list[str]] = []

    def upper(texts: list[str]) -> list[str]:
        batches.append(texts)
        time.sleep(0.01)
        return [text.upper() for text in texts]

    async def ask() -> list[str]:
        coalesced = Coalescer[str, str](upper, 32, len, tokens, max_age_s=10.0)
        return await asyncio.gather(*(coalesced(text) for text in texts))

    texts = [("ab"[n % 2] + str(n)) * (1 + 99 * (n % 2)) for n in range(20)]
    assert asyncio.run(ask()) == [text.upper() for text in texts]
    for batch in batches:
        assert len(batch) == 1 or max(map(len, batch)) * len(batch) <= tokens
    assert len(batches) < len(texts)
