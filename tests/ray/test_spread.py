"""Work shared among Ray's workers: types that come back, pools, errors, and no work at all."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.errors import EncoderUnavailable, InputError
from data.failures import input_error
from data.spread import Pool, on_ray

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


def describe(path: Path) -> tuple[str, int, datetime, dict[str, None], bytes]:
    return path.name, os.getpid(), MOMENT, {}, b"ends with zeros\0\0"


@pytest.mark.parametrize("pool", [None, Pool(1, 2)])
def test_items_and_results_keep_their_types(pool: Pool | None) -> None:
    found = sorted(on_ray.run([Path(f"/a/{n}") for n in range(5)], lambda: describe, "describe", pool))
    assert [row[0] for row in found] == list("01234")
    assert {row[2:4] == (MOMENT, {}) for row in found} == {True} and found[0][4] == b"ends with zeros\0\0"
    assert os.getpid() not in {row[1] for row in found}


def test_a_worker_of_a_pool_is_made_once_and_takes_many_items() -> None:
    def make() -> Callable[[int], int]:
        seen: list[int] = []

        def work(number: int) -> int:
            seen.append(number)
            return len(seen)

        return work

    assert sorted(on_ray.run([7, 8, 9], make, "Counting", Pool(1, 1), queued=2)) == [1, 2, 3]


@pytest.mark.parametrize("pool", [None, Pool(1, 1)])
def test_an_error_ends_the_work_and_its_workers(pool: Pool | None) -> None:
    def work(number: int) -> int:
        raise EncoderUnavailable(f"not {number}", "Give another.")

    for _ in range(3):  # each needs the cores of the one before
        with pytest.raises(Exception, match="not 5") as raised:
            list(on_ray.run([5], lambda: work, "work", pool and pool._replace(cores=2)))
        found = input_error(raised.value)
        assert isinstance(found, EncoderUnavailable) and found.remedy == "Give another."


def test_an_error_that_is_returned_comes_back_as_itself() -> None:
    (returned,) = on_ray.run([1], lambda: lambda number: InputError(f"not {number}", "Give another."), "work")
    assert isinstance(returned, InputError) and (returned.problem, returned.remedy) == ("not 1", "Give another.")


def test_no_items_start_nothing() -> None:
    assert list(on_ray.run([], lambda: describe, "describe", Pool(1, 1))) == []


def test_room_is_waited_for_no_longer_than_asked() -> None:
    assert on_ray.has_room(Pool(1, 1, cores=1), timeout_s=1)
    assert not on_ray.has_room(Pool(1, 1, cores=1, gpus=5), timeout_s=1)
