"""The nearest tier of intents: the least recently used goes first, and all of them after their time."""

import numpy as np

from serving.recent_intents import RecentIntents


class Clock:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_least_recently_used_goes_first() -> None:
    kept = RecentIntents(most=2)
    for text in ("a", "b"):
        kept.put(text, np.ones(2, np.float32))
    assert kept.get(" a ") is not None
    kept.put("c", np.zeros(2, np.float32))
    assert (kept.get("a") is not None, kept.get("b"), kept.get("c") is not None) == (True, None, True)


def test_none_is_found_after_its_time_unless_it_is_put_again() -> None:
    clock = Clock()
    kept = RecentIntents(kept_s=60.0, clock=clock)
    kept.put("a", np.ones(2, np.float32))
    clock.seconds = 59.0
    assert kept.get("a") is not None  # to be asked for does not make it younger
    clock.seconds = 60.0
    assert kept.get("a") is None
    kept.put("a", np.zeros(2, np.float32))
    found = kept.get("a")
    assert found is not None and found.tolist() == [0, 0]
