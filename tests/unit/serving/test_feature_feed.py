"""Features of a service: taken up from the store, computed where they are old, never used after their end."""

import asyncio
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from data.cache.embedded import EmbeddedRedis
from data.cache.redis import connect
from data.features.redis import RedisFeatures
from data.features.sqlite import SqliteFeatures
from data.features.store import Clock, FeatureStore
from data.features.table import Features
from serving.feature_feed import LOOK_EVERY_S, FeatureFeed

NAMES = ("runs", "success")
TTL_S, EVERY_S = 1000.0, 100.0


@dataclass
class Time:
    """A clock that is set by hand."""

    seconds: float = 1e6

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Made:
    """Computes features, and counts how often."""

    values: list[list[float]] = field(default_factory=lambda: [[1.0, 0.5], [2.0, 0.25]])
    times: list[int] = field(default_factory=list)

    def __call__(self, now: int) -> Features:
        self.times.append(now)
        return Features(NAMES, np.array(self.values, np.float32) + len(self.times), ("a", "b"), now)


def feed_of(store: FeatureStore, made: Made, clock: Clock) -> FeatureFeed:
    return FeatureFeed(store, "view", NAMES, made, TTL_S, EVERY_S, clock)


def current(feed: FeatureFeed) -> Features | None:
    """As a request sees it, and once more after the store was looked at beside it."""

    async def ask() -> Features | None:
        feed.current()
        if feed._looking is not None:
            await feed._looking
        return feed.current()

    return asyncio.run(ask())


def test_one_process_computes_and_the_others_find_it(tmp_path: Path) -> None:
    clock, first, second = Time(), Made(), Made()
    feeds = [feed_of(SqliteFeatures(tmp_path / "f", clock), made, clock) for made in (first, second)]
    for feed in feeds:
        feed.refresh()
    versions = {features.version for feed in feeds if (features := current(feed)) is not None}
    assert (len(first.times), len(second.times), len(versions)) == (1, 0, 1)


def test_old_features_are_computed_again_beside_the_requests(tmp_path: Path) -> None:
    clock, made = Time(), Made()
    feed = feed_of(SqliteFeatures(tmp_path / "f", clock), made, clock)
    feed.refresh()
    clock.seconds += EVERY_S / 2
    current(feed)
    assert len(made.times) == 1
    clock.seconds += EVERY_S
    features = current(feed)
    assert len(made.times) == 2 and features is not None and features.time == int(clock.seconds * 1e6)


def test_a_version_that_another_process_has_put_is_taken_up(tmp_path: Path) -> None:
    clock, made = Time(), Made()
    feed = feed_of(SqliteFeatures(tmp_path / "f", clock), made, clock)
    feed.refresh()
    clock.seconds += LOOK_EVERY_S + 1
    learned = Features(NAMES, np.array([[7.0, 0.9]], np.float32), ("a",), int(clock.seconds * 1e6))
    SqliteFeatures(tmp_path / "f", clock).put("view", learned, TTL_S)
    features = current(feed)
    assert features is not None and features.version == learned.version and len(made.times) == 1


def test_while_redis_is_down_what_is_in_memory_counts_until_it_ends(tmp_path: Path) -> None:
    clock, made = Time(), Made()
    with EmbeddedRedis(tmp_path, 16) as server:
        client = connect(server.url, 500)
        feed = feed_of(RedisFeatures(client, clock), made, clock)
        feed.refresh()
        os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        clock.seconds += EVERY_S + LOOK_EVERY_S
        features = current(feed)
        assert features is not None and len(made.times) == 1
        clock.seconds += TTL_S
        assert current(feed) is None
        late = feed_of(RedisFeatures(client, clock), made, clock)
        late.refresh()
        assert current(late) is None  # a service that starts then answers without
        feed.close()


@pytest.mark.parametrize("bad", [[[np.nan, 1.0], [1.0, 1.0]], [[1e6, 0.0], [1.0, 1.0]]])
def test_bad_features_are_not_taken_up(
    tmp_path: Path, bad: list[list[float]], caplog: pytest.LogCaptureFixture
) -> None:
    clock, made = Time(), Made()
    feed = feed_of(SqliteFeatures(tmp_path / "f", clock), made, clock)
    feed.refresh()
    good = current(feed)
    made.values = bad
    clock.seconds += EVERY_S + LOOK_EVERY_S
    assert current(feed) is good and good is not None
    assert "features: n" in caplog.text


def test_where_features_cannot_be_computed_those_before_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, made = Time(), Made()
    feed = feed_of(SqliteFeatures(tmp_path / "f", clock), made, clock)
    feed.refresh()
    made.values = [[1.0], [2.0, 3.0]]  # no matrix
    clock.seconds += EVERY_S + LOOK_EVERY_S
    assert current(feed) is not None and "cannot be computed" in caplog.text


def test_features_of_other_names_are_not_taken_up(tmp_path: Path) -> None:
    clock, made = Time(), Made()
    store = SqliteFeatures(tmp_path / "f", clock)
    store.put("view", Features(("other",), np.ones((1, 1), np.float32), ("a",), int(clock.seconds * 1e6)), TTL_S)
    feed = feed_of(store, made, clock)
    feed.refresh()
    assert current(feed) is None


def test_rows_that_are_alike_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, made = Time(), Made(values=[[1.0, 1.0], [1.0, 1.0]])
    feed = feed_of(SqliteFeatures(tmp_path / "f", clock), made, clock)
    feed.refresh()
    assert current(feed) is not None and "collapse" in caplog.text
