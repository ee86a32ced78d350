"""The budget of a batch and the wait for fuller ones come to what a target of latency allows, by a simulated clock."""

import numpy as np
import pytest

from serving.pace import LEAST, Pace
from serving.window import TokenWindow

MOST, AGE_S, TOKENS = 2048, 0.05, 32


def latencies(pace: Pace | None, second_per_token: float, share: float, requests: int = 3000) -> np.ndarray:
    """Seconds from arrival to answer of texts of 32 tokens, by one worker.

    Args:
        pace: that is followed; a window of constants where None.
        second_per_token: of a batch, beside a millisecond for itself.
        share: of the worker's time that arrivals need, at random times.
        requests: of which those after the first thousand are returned.
    """
    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.exponential(second_per_token * TOKENS / share, requests))
    window, waits, now, come = TokenWindow[int](MOST, 64, AGE_S, padded=False), np.zeros(requests), 0.0, 0
    done = 0
    while done < requests:
        if not len(window):
            now = max(now, arrivals[come])
        while come < requests and arrivals[come] <= now:
            window.add([come], [TOKENS], float(arrivals[come]))
            come += 1
        batch = window.take(now)
        seconds = 0.001 + second_per_token * TOKENS * len(batch)
        now, done = now + seconds, done + len(batch)
        waits[batch] = now - arrivals[batch]
        if pace is not None:
            pace.add(TOKENS * len(batch), seconds)
            window.max_tokens, window.max_age_s = pace.max_tokens, pace.max_age_s
    return waits[1000:]


def test_a_batch_comes_to_half_the_target() -> None:
    pace = Pace(0.1, MOST, AGE_S)
    for _ in range(50):
        pace.add(pace.max_tokens, 0.002 + pace.max_tokens * 0.0001)
    assert 0.002 + pace.max_tokens * 0.0001 == pytest.approx(0.05, rel=0.02)
    assert pace.max_age_s < 0.01  # two such batches are the target


def test_it_follows_a_model_that_becomes_slower_and_faster_again() -> None:
    pace, found = Pace(0.1, MOST, AGE_S), []
    for per_token in (0.0001, 0.0004, 0.00002):
        for _ in range(50):
            pace.add(pace.max_tokens, pace.max_tokens * per_token)
        found.append(pace.max_tokens)
    assert found == [500, 125, MOST]


def test_without_need_nothing_changes() -> None:
    pace = Pace(10.0, MOST, AGE_S)
    for tokens in (10, 500, MOST):
        pace.add(tokens, 0.2)
    assert (pace.max_tokens, pace.max_age_s) == (MOST, AGE_S)


def test_small_batches_say_nothing_unless_they_are_slow() -> None:
    pace = Pace(0.1, MOST, AGE_S)
    for _ in range(20):
        pace.add(MOST, 0.2)
    before = pace.max_tokens
    pace.add(1, 0.001)
    assert pace.max_tokens == before == LEAST * MOST


def test_a_target_that_cannot_be_reached_leaves_a_batch_of_a_question_or_two() -> None:
    pace = Pace(0.001, MOST, AGE_S)
    for _ in range(100):
        pace.add(pace.max_tokens, 1.0)
    assert (pace.max_tokens, pace.max_age_s) == (LEAST * MOST, 0.0)


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_no_text_takes_longer_than_the_target_where_that_can_be(share: float) -> None:
    """At 70% of what one worker does; a batch of all 64 that may be there would take 0.2 s."""
    waits = latencies(Pace(0.1, MOST, AGE_S), 0.0001, share)
    assert np.percentile(waits, 99) < 0.1


def test_batches_cost_what_the_model_computes() -> None:
    window = TokenWindow[int](100, 64, 10.0, padded=False)
    window.add(list(range(4)), [60, 20, 10, 10], 0.0)
    assert window.take(0.0) == [0, 1, 2, 3]
    window = TokenWindow[int](100, 64, 10.0)
    window.add(list(range(4)), [60, 20, 10, 10], 0.0)
    assert len(window.take(0.0)) < 4
