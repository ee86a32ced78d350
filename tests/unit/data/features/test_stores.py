"""Both stores keep the same: versions that never change, batches by id, and nothing after its time."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from data.cache.embedded import EmbeddedRedis
from data.cache.redis import connect
from data.features.redis import RedisFeatures
from data.features.sqlite import SqliteFeatures
from data.features.store import FeatureStore, StoreUnavailable
from data.features.table import Features

NAMES = ("runs", "success", "rating")
NOW_S = 1_000_000.0


@dataclass
class Clock:
    """A clock that is set by hand."""

    seconds: float = NOW_S

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), 16) as server:
        yield server.url


Opener = Callable[[Clock], FeatureStore]


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> Iterator[Opener]:
    made: list[FeatureStore] = []

    def open_store(clock: Clock) -> FeatureStore:
        if request.param == "sqlite":
            made.append(SqliteFeatures(tmp_path / "folder" / "features.sqlite", clock))
        else:
            made.append(RedisFeatures(connect(url, 5000), clock))
        return made[-1]

    with connect(url, 5000) as client:
        client.flushall()
    yield open_store
    for store in made:
        store.close()


def some(seed: int, count: int = 5, time_s: float = NOW_S) -> Features:
    values = np.random.default_rng(seed).standard_normal((count, len(NAMES))).astype(np.float32)
    return Features(NAMES, values, tuple(f"id {n} ü" for n in range(count)), int(time_s * 1e6))


def assert_equal(found: Features | None, expected: Features) -> None:
    assert found is not None
    assert (found.names, found.ids, found.time) == (expected.names, expected.ids, expected.time)
    np.testing.assert_array_equal(found.values_CF, expected.values_CF)
    assert found.values_CF.dtype == np.float32


def test_what_is_put_is_got_by_another_process_too(opened: Opener) -> None:
    put = some(0, 2500)
    version = opened(Clock()).put("v", put, 60.0)
    other = opened(Clock())
    assert other.latest("v") == version == put.version
    assert_equal(other.get("v", version), put)
    assert other.latest("w") is None and other.get("w", version) is None and other.get("v", "none") is None


def test_a_batch_of_ids_is_got_at_once_and_unknown_ones_are_left_out(opened: Opener) -> None:
    store, put = opened(Clock()), some(1)
    version = store.put("v", put, 60.0)
    found = store.get("v", version, [put.ids[3], "unknown", put.ids[1]])
    assert found is not None and found.ids == (put.ids[1], put.ids[3])
    np.testing.assert_array_equal(found.of(put.ids[3:4], NAMES), put.values_CF[3:4])
    nothing = store.get("v", version, [])
    assert nothing is not None and nothing.values_CF.shape == (0, 3)


def test_a_version_never_changes_and_the_latest_time_counts(opened: Opener) -> None:
    clock = Clock()
    store, early, late = opened(clock), some(2), some(3, time_s=NOW_S + 5)
    clock.seconds += 10
    versions = [store.put("v", one, 60.0) for one in (late, early, early)]  # the earlier one came late, and twice
    assert store.latest("v") == versions[0] and versions[1] == versions[2]
    for version, features in zip(versions, (late, early, early), strict=True):
        assert_equal(store.get("v", version), features)


def test_nothing_is_served_after_its_time(opened: Opener) -> None:
    clock = Clock()
    store, first = opened(clock), some(4)
    version = store.put("v", first, 60.0)
    clock.seconds += 59.9
    assert store.latest("v") == version and store.get("v", version) is not None
    clock.seconds += 0.2
    assert store.latest("v") is None and store.get("v", version) is None
    second = some(5, time_s=clock.seconds)
    assert store.latest("v") != store.put("v", second, 60.0) or store.latest("v") == second.version
    assert_equal(store.get("v", second.version), second)
    assert store.get("v", version) is None
    stale = some(6, time_s=NOW_S)  # over before it is put
    store.put("v", stale, 60.0)
    assert store.latest("v") == second.version and store.get("v", stale.version) is None


def test_both_stores_answer_alike(tmp_path: Path, url: str) -> None:
    clock, rng = Clock(), np.random.default_rng(0)
    with connect(url, 5000) as client:
        client.flushall()
    stores = [SqliteFeatures(tmp_path / "f.sqlite", clock), RedisFeatures(connect(url, 5000), clock)]
    put: list[tuple[str, Features]] = []
    for step in range(80):
        clock.seconds += float(rng.integers(0, 20))
        view, asked = str(rng.choice(["a", "b"])), int(rng.integers(0, 3))
        if asked == 0 or not put:
            features = some(step, int(rng.integers(0, 4)), clock.seconds - float(rng.integers(0, 30)))
            put.append((view, features))
            ttl_s = float(rng.choice([30.0, 90.0]))
            assert len({store.put(view, features, ttl_s) for store in stores}) == 1
        elif asked == 1:
            first, second = (store.latest(view) for store in stores)
            assert first == second, step
        else:
            view, features = put[int(rng.integers(len(put)))]
            ids = None if rng.random() < 0.5 else [*features.ids[1:], "other"]
            first_found, second_found = (store.get(view, features.version, ids) for store in stores)
            assert (first_found is None) == (second_found is None), step
            if first_found is not None and second_found is not None:
                assert_equal(second_found, first_found)
    for store in stores:
        store.close()


def test_a_redis_that_is_gone_is_told_and_left_alone(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, 16) as server:
        client = connect(server.url, 500)
        store = RedisFeatures(client)
        store.put("v", some(0), 1e9)
        os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.latest("v")
        with pytest.raises(StoreUnavailable, match="a moment ago"):
            store.get("v", "any")
        store.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("no database, but a text that is long enough to be looked at" * 20)
    with pytest.raises(StoreUnavailable, match="not a database"):
        SqliteFeatures(tmp_path / "f").latest("v")
