"""The online window: every item once, within its area, none left waiting; and the batcher on top of it."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batcher import Batcher
from serving.window import TokenWindow

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
            window.add([arrived], [arriving[arrived][0]], came[arrived])
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
        filled.add(["long"], [100], 0.0)
        for name in "abc":
            filled.add([name], [10], 0.5)
        return filled

    young, old = window(), window()
    assert young.take(0.9) == ["a", "b", "c"] and young.take(0.9) == ["long"] and young.take(0.9) == []
    assert old.take(1.0) == ["long"] and old.take(1.0) == ["a", "b", "c"]


def test_no_age_is_first_come_first_served() -> None:
    window = TokenWindow[int](100, 10, 0.0)
    for item in range(5):
        window.add([item], [60], float(item))
    assert [window.take(9.0) for _ in range(5)] == [[0], [1], [2], [3], [4]]


@given(st.lists(st.lists(st.integers(0, 600), min_size=1, max_size=40), max_size=8), sizes, st.floats(0, 5))
def test_requests_of_many_items_are_handed_out_whole_each_item_once(
    requests: list[list[int]], size: tuple[int, int], age: float
) -> None:
    window = TokenWindow[tuple[int, int]](*size, age)
    for number, lengths in enumerate(requests):
        window.add([(number, place) for place in range(len(lengths))], lengths, 0.0)
    assert (len(window), window.tokens) == (sum(map(len, requests)), sum(map(sum, requests)))
    taken, clock = [], 0.0
    while batch := window.take(clock):
        assert len(batch) <= size[1]
        assert len(batch) == 1 or max(requests[number][place] for number, place in batch) * len(batch) <= size[0]
        taken += batch
        clock += 1.0
    assert (len(window), window.tokens) == (0, 0)
    assert sorted(taken) == [
        (number, place) for number, lengths in enumerate(requests) for place in range(len(lengths))
    ]


@pytest.mark.parametrize("lengths", [(10, 10), (100, 10), (10, 100)], ids=["alike", "long list", "long one"])
def test_a_list_of_two_thousand_does_not_keep_one_text_waiting(lengths: tuple[int, int]) -> None:
    window = TokenWindow[str](1000, 32, 0.05)
    window.add(["many"] * 2000, [lengths[0]] * 2000, 0.0)
    clock, batch_s, waits = 0.0, 0.02, list[float]()
    for number in range(200):
        if number % 3 == 2:  # a single text comes while a batch is being worked on
            window.add([f"one{number}"], [lengths[1]], clock)
            came = clock
        clock += batch_s
        if any(item.startswith("one") for item in window.take(clock)):
            waits.append(clock - came)
    assert len(waits) == 66 and max(waits) <= 2 * batch_s + 1e-9


def test_a_stream_of_single_texts_does_not_starve_a_list() -> None:
    window = TokenWindow[str](1000, 32, 0.05)
    window.add(["many"] * 100, [100] * 100, 0.0)
    clock, ended = 0.0, None
    for number in range(400):
        window.add([f"one{number}"], [10], clock)
        clock += 0.02
        window.take(clock)
        if not any(request.waiting[0][0] == "many" for request in window._requests):
            ended = clock
            break
    # A batch of the list, ten of its texts, each time that it has waited for its age bound.
    assert ended is not None and ended <= 10 * (0.05 + 2 * 0.02) + 0.1


@pytest.mark.parametrize("tokens", [300, 1000])
def test_calls_are_coalesced_by_area_and_each_gets_its_own_answer(tokens: int) -> None:
    batches: list[list[str]] = []

    def upper(texts: list[str]) -> list[str]:
        batches.append(texts)
        time.sleep(0.01)
        return [text.upper() for text in texts]

    async def ask() -> list[str]:
        coalesced = Batcher[str, str](upper, 32, len, tokens, max_age_s=10.0)
        return await asyncio.gather(*(coalesced(text) for text in texts))

    texts = [("ab"[n % 2] + str(n)) * (1 + 99 * (n % 2)) for n in range(20)]
    assert asyncio.run(ask()) == [text.upper() for text in texts]
    for batch in batches:
        assert len(batch) == 1 or max(map(len, batch)) * len(batch) <= tokens
    assert len(batches) < len(texts)


def test_what_waits_is_shared_among_workers_unless_it_is_little() -> None:
    window = TokenWindow[int](2048, 64, 10.0, padded=False)
    for item in range(32):
        window.add([item], [32], 0.0)
    assert [len(window.take(0.0, among=2)) for _ in range(4)] == [16, 8, 8, 0]
    for item in range(32):
        window.add([item], [32], 0.0)
    assert len(window.take(0.0)) == 32


def test_of_very_many_requests_those_are_looked_at_that_wait_longest() -> None:
    """Short items beyond four full batches would end more requests; they come when those before them are served."""
    window = TokenWindow[int](max_tokens=64, max_items=4, max_age_s=100.0)
    for item in range(40):
        window.add([item], [32 if item < 16 else 1], 0.0)
    batches = [window.take(1.0) for _ in range(14)]
    assert {*batches[0]} <= {*range(16)}
    assert sorted(item for batch in batches for item in batch) == list(range(40))
    assert len(window) == window.tokens == 0 and window.take(1.0) == []
