"""Work is let in while it can be done in time; the rest is told when to come again."""

import contextlib
import math
from collections import deque

import numpy as np
import pytest

from serving.admission import Admission, Priority
from serving.errors import ApiError


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def worked(admission: Admission, clock: Clock, work: float, seconds: float) -> None:
    with admission.admitted(work):
        clock.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    """At a measured thousand a second, of which two seconds' worth may wait."""
    made = Admission(longest_wait_s=2.0, full=100, clock=clock)
    for _ in range(8):
        worked(made, clock, 1000, 1.0)
    return made


def test_as_much_waits_as_is_done_in_the_longest_wait(admission: Admission) -> None:
    with contextlib.ExitStack() as inside:
        for _ in range(20):
            inside.enter_context(admission.admitted(100))
        assert (admission.waiting, admission.expected_wait_s) == (2000, pytest.approx(2.0))
        with pytest.raises(ApiError) as raised, admission.admitted(100):
            pytest.fail("was let in")
        assert (raised.value.type, raised.value.headers) == ("overloaded", {"Retry-After": "1"})
        assert "what waits takes 2.0 s" in raised.value.message
    assert admission.waiting == 0


def test_bulk_work_leaves_room_for_people(admission: Admission) -> None:
    with admission.admitted(1000, "bulk"):
        with pytest.raises(ApiError), admission.admitted(100, "bulk"):
            pytest.fail("was let in")
        with admission.admitted(1000, "interactive"):
            pass


def test_what_is_larger_than_the_bound_is_let_in_alone(admission: Admission) -> None:
    with admission.admitted(50_000):
        with pytest.raises(ApiError) as raised, admission.admitted(1):
            pytest.fail("was let in")
        assert raised.value.headers == {"Retry-After": "49"}
    with admission.admitted(1), pytest.raises(ApiError), admission.admitted(50_000):
        pytest.fail("was let in")


def test_before_anything_was_measured_all_are_let_in(clock: Clock) -> None:
    admission = Admission(longest_wait_s=1.0, full=10, clock=clock)
    with contextlib.ExitStack() as inside:
        for _ in range(100):
            inside.enter_context(admission.admitted(1000))


def test_a_few_lists_that_end_together_are_no_slow_service(clock: Clock) -> None:
    admission = Admission(longest_wait_s=5.0, full=2000, clock=clock)
    for _ in range(3):
        with contextlib.ExitStack() as lists:
            for _ in range(4):
                lists.enter_context(admission.admitted(15_000))
            clock.now += 2.4
        for _ in range(3):  # those who have their list ask for the next while the others wait for theirs
            with admission.admitted(15_000), admission.admitted(15_000):
                clock.now += 1.2


def test_one_at_a_time_says_nothing_of_what_many_take(clock: Clock) -> None:
    admission = Admission(longest_wait_s=1.0, full=100, clock=clock)
    for _ in range(100):
        worked(admission, clock, 10, 1.0)
    with contextlib.ExitStack() as inside:
        for _ in range(100):
            inside.enter_context(admission.admitted(1000))


def test_a_few_batches_may_always_wait_however_slow_the_service_is(clock: Clock) -> None:
    admission = Admission(longest_wait_s=1.0, full=16, clock=clock)
    for _ in range(20):
        worked(admission, clock, 16, 160.0)
    with contextlib.ExitStack() as inside:
        for _ in range(64):
            inside.enter_context(admission.admitted(1))
        with pytest.raises(ApiError) as raised:
            inside.enter_context(admission.admitted(1))
        assert raised.value.headers == {"Retry-After": "60"}


def test_the_rate_follows_the_service_and_idle_time_does_not_count(admission: Admission, clock: Clock) -> None:
    clock.now += 3600.0
    with admission.admitted(1000):
        assert admission.expected_wait_s == pytest.approx(1.0)
        clock.now += 1.0
    for _ in range(100):
        worked(admission, clock, 100, 1.0)
    with admission.admitted(100):
        assert admission.expected_wait_s == pytest.approx(1.0, rel=0.01)


def test_where_all_work_has_failed_there_is_no_rate(clock: Clock) -> None:
    admission = Admission(longest_wait_s=1.0, full=10, clock=clock)
    for _ in range(3):
        with contextlib.suppress(RuntimeError), admission.admitted(100):
            clock.now += 1.0
            raise RuntimeError
    with admission.admitted(100), admission.admitted(100):
        assert admission.expected_wait_s == 0.0


def test_work_that_failed_does_not_count_as_done(admission: Admission, clock: Clock) -> None:
    for _ in range(50):
        with contextlib.suppress(RuntimeError), admission.admitted(1000):
            clock.now += 1.0
            raise RuntimeError
    with admission.admitted(1000):
        assert admission.expected_wait_s > 5.0


def test_whatever_comes_next_is_refused_until_something_is_done(admission: Admission) -> None:
    assert admission.refusal is None
    with admission.admitted(1900):
        with admission.admitted(100):
            assert admission.refusal is None
            with pytest.raises(ApiError) as raised, admission.admitted(1):
                pytest.fail("was let in")
            assert admission.refusal is raised.value
        assert admission.refusal is None
        with admission.admitted(100):
            pass


@pytest.mark.parametrize(("work", "priority"), [(101, "interactive"), (1, "bulk")])
def test_large_work_and_bulk_that_are_refused_say_nothing_of_the_rest(
    admission: Admission, work: float, priority: Priority
) -> None:
    with admission.admitted(1950):
        with pytest.raises(ApiError), admission.admitted(work, priority):
            pytest.fail("was let in")
        assert admission.refusal is None
        with admission.admitted(50):
            pass


def test_a_rush_after_the_start_is_let_in_by_the_rate_that_was_expected(clock: Clock) -> None:
    admission = Admission(longest_wait_s=5.0, full=32, clock=clock)
    admission.expect(400.0)
    with contextlib.ExitStack() as rush, contextlib.ExitStack() as first_batch:
        for one in range(1000):
            (first_batch if one < 32 else rush).enter_context(admission.admitted(1))
        clock.now += 1.5
        first_batch.close()
        for _ in range(100):
            rush.enter_context(admission.admitted(1))


def test_what_is_measured_takes_the_place_of_what_was_expected(clock: Clock) -> None:
    admission = Admission(longest_wait_s=1.0, full=100, clock=clock)
    admission.expect(10_000.0)
    for _ in range(120):
        worked(admission, clock, 1000, 1.0)
    with admission.admitted(1000):
        assert admission.expected_wait_s == pytest.approx(1.0, rel=0.05)


def test_long_lists_that_end_late_and_together_do_not_make_the_rate_look_low(clock: Clock) -> None:
    """Four callers of which each sends its next list of 64 texts when it has its answer."""
    admission = Admission(longest_wait_s=5.0, full=2048, clock=clock)
    admission.expect(23_000.0)
    with contextlib.ExitStack() as others:
        for _ in range(3):
            others.enter_context(admission.admitted(14_400))
        with admission.admitted(14_400):
            clock.now += 3.5
        with admission.admitted(14_400):
            pass


def let_in(admission: Admission, pieces: int) -> list[contextlib.ExitStack]:
    """So many pieces of work of one, each ended by closing it."""
    stacks = [contextlib.ExitStack() for _ in range(pieces)]
    for stack in stacks:
        stack.enter_context(admission.admitted(1))
    return stacks


def test_the_rate_is_right_where_just_a_full_batch_waits(clock: Clock) -> None:
    """Sixty-four callers who ask again once they are answered; two batches of half of them are worked on at once."""
    admission = Admission(longest_wait_s=10.0, full=64, clock=clock)
    batches = deque([let_in(admission, 32), let_in(admission, 32)])
    began, rounds = clock.now, 200
    for _ in range(rounds):
        clock.now += 0.06
        for piece in batches.popleft():
            piece.close()
            clock.now += 0.0002
        clock.now += 0.002
        batches.append(let_in(admission, 32))
    rate = 32 * rounds / (clock.now - began)
    assert admission.waiting / admission.expected_wait_s == pytest.approx(rate, rel=0.05)


def refusals(admission: Admission, clock: Clock, a_second: float, seconds: float, pause_s: float) -> int:
    """How many of random arrivals are refused by a service that does 64 pieces in 0.13 s, and pauses twice a minute."""
    arrivals = clock.now + np.cumsum(np.random.default_rng(0).exponential(1 / a_second, int(a_second * seconds)))
    waiting, batch = deque[contextlib.ExitStack](), list[contextlib.ExitStack]()
    ends, pauses_at, refused = math.inf, clock.now + 30.0, 0
    for at in arrivals:
        while True:
            if not batch and waiting:
                batch = [waiting.popleft() for _ in range(min(64, len(waiting)))]
                ends = clock.now + 0.02 + 0.0017 * len(batch)
                if clock.now >= pauses_at:
                    ends, pauses_at = ends + pause_s, pauses_at + 30.0
            if not batch or ends > at:
                break
            clock.now = ends
            for piece in batch:
                piece.close()
            batch = []
        clock.now = float(at)
        try:
            waiting += let_in(admission, 1)
        except ApiError:
            refused += 1
    return refused


@pytest.mark.parametrize(("pause_s", "some"), [(0.8, False), (3.0, True)])
def test_pauses_within_the_longest_wait_refuse_nobody_at_a_load_that_is_kept_up_with(
    clock: Clock, pause_s: float, some: bool
) -> None:
    admission = Admission(longest_wait_s=1.0, full=64, clock=clock)
    admission.expect(490.0)
    assert (refusals(admission, clock, 340.0, 300.0, pause_s) > 0) is some
