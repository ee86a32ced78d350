"""Batches made ahead come in order, end with their thread, and carry its errors."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from training.ahead import Ahead


def test_items_come_in_order_and_prepared() -> None:
    with closing(Ahead(iter(range(20)), prepare=lambda n: n * n)) as items:
        assert list(items) == [n * n for n in range(20)]


def test_making_and_using_overlap() -> None:
    def slow() -> Iterator[int]:
        for n in range(8):
            time.sleep(0.03)
            yield n

    started = time.perf_counter()
    with closing(Ahead(slow())) as items:
        for _ in items:
            time.sleep(0.03)
    assert time.perf_counter() - started < 8 * 0.06 * 0.85


def test_no_more_is_made_ahead_than_asked_for_and_closing_ends_the_thread() -> None:
    made = []

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    before = threading.active_count()
    with closing(Ahead(endless(), most=3)) as items:
        assert next(iter(items)) == 0
        time.sleep(0.1)
        assert len(made) <= 1 + 3 + 1
    assert threading.active_count() == before


def test_an_error_is_raised_where_its_item_is_asked_for() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    with closing(Ahead(failing())) as items:
        taken = iter(items)
        assert next(taken) == 1
        with pytest.raises(ValueError, match="no second"):
            next(taken)
