"""What shares work among workers, in this process; ``tests/ray`` has the same on Ray."""

from collections.abc import Callable

import pytest

from data.errors import InputError
from data.spread import Pool, here


def test_one_worker_takes_all_items_in_order() -> None:
    made: list[Callable[[int], int]] = []

    def make() -> Callable[[int], int]:
        made.append(lambda number: number * number)
        return made[-1]

    assert list(here.run([3, 1, 2], make, "Square", Pool(1, 4))) == [9, 1, 4]
    assert len(made) == 1


def test_without_items_no_worker_is_made() -> None:
    def make() -> Callable[[int], int]:
        raise AssertionError

    assert list(here.run([], make, "Never")) == []


def test_items_are_done_as_their_results_are_asked_for() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        done.append(number)
        return number

    results = here.run([1, 2, 3], lambda: work, "work")
    assert next(results) == 1 and done == [1]


def test_an_error_ends_the_work_as_it_is() -> None:
    def work(number: int) -> int:
        raise InputError(f"not {number}", "Give another.")

    with pytest.raises(InputError, match="not 5"):
        list(here.run([5, 6], lambda: work, "work"))


def test_this_process_has_room_for_whatever_is_asked() -> None:
    assert here.resources().cores == 1 and here.has_room(Pool(1, 1, cores=64, gpus=8), timeout_s=0)
