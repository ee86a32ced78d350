"""The tier in a real Redis: raw bytes, lifetimes, passwords, events, and doing without."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from data.cache import Entries
from data.cache.embedded import EmbeddedRedis
from data.cache.redis import Breaker, RedisTier, check, connect
from data.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[4]
DIM = 8
SLOW_MS = 5000  # where the time-out is not what is tested: a busy machine is no fault


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), 16) as server:
        yield server.url


@pytest.fixture
def client(url: str) -> Iterator[Redis]:
    with connect(url, SLOW_MS) as connected:
        connected.flushall()
        yield connected


def random_entries(count: int) -> Entries:
    rng = np.random.default_rng(0)
    tokens = np.arange(2 * count, dtype=np.int32).reshape(count, 2)
    return Entries(rng.standard_normal((count, DIM)).astype(np.float32), tokens)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_put_is_got_and_only_float32_keeps_every_bit(
    client: Redis, dtype: type[np.float16] | type[np.float32]
) -> None:
    tier, put = RedisTier(client, DIM, 60.0, dtype), random_entries(600)
    keys = [f"k{number}".encode() for number in range(600)]
    tier.put_many(keys, put)
    got, mask = tier.get_many([b"absent", *reversed(keys)])
    assert mask.tolist() == [False] + [True] * 600
    np.testing.assert_array_equal(got.vectors, put.vectors[::-1].astype(dtype).astype(np.float32))
    assert got.tokens[::-1].ravel().tolist() == list(range(1200)) and got.vectors.dtype == np.float32
    assert len(client.get(keys[0]) or b"") == 14 + DIM * np.dtype(dtype).itemsize
    assert tier.counts.degraded == 0


def test_a_value_of_another_form_is_absent(client: Redis) -> None:
    tier = RedisTier(client, DIM, 60.0)
    tier.put_many([b"good"], random_entries(1))
    good = client.get(b"good")
    assert isinstance(good, bytes)
    client.mset({b"version": b"\x01" + good[1:], b"short": good[:-1], b"dim": good[:2] + b"\x09" + good[3:]})
    client.mset({b"empty": b"", b"text": b"\x80\x04pickle"})
    RedisTier(client, DIM // 2, 60.0, np.float32).put_many(
        [b"float32"], Entries(np.ones((1, 4), "f4"), np.ones((1, 2), "i4"))
    )
    assert client.strlen(b"float32") == len(good)
    keys = [b"version", b"short", b"dim", b"empty", b"text", b"float32", b"good"]
    assert tier.get_many(keys)[1].tolist() == [False] * 6 + [True]


def test_vectors_may_be_wider_than_65535(client: Redis) -> None:
    tier, wide = RedisTier(client, 65_536, 60.0), np.ones((1, 65_536), np.float32)
    tier.put_many([b"wide"], Entries(wide, np.array([[3, 0]], np.int32)))
    got, mask = tier.get_many([b"wide"])
    assert mask.all() and np.array_equal(got.vectors, wide)


def test_each_entry_has_its_lifetime(client: Redis) -> None:
    RedisTier(client, DIM, 60.0).put_many([b"long"], random_entries(1))
    RedisTier(client, DIM, 0.05).put_many([b"short"], random_entries(1))
    assert 50_000 < client.pttl(b"long") <= 60_000
    wait_for(lambda: RedisTier(client, DIM, 60.0).get_many([b"long", b"short"])[1].tolist() == [True, False])


def test_a_server_that_is_not_there_costs_one_attempt(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    tier = RedisTier(connect("unix:///no/such/socket", 50), DIM, 60.0, breaker=Breaker(lambda: now[0]))
    with caplog.at_level(logging.WARNING, "catena"):
        assert not tier.get_many([b"k"] * 1000)[1].any()
        tier.put_many([b"k"] * 10, random_entries(10))
        assert len(caplog.records) == 1
        now[0] = 1.1
        tier.get_many([b"k"])
        assert len(caplog.records) == 2
        now[0] = 2.5  # the second pause is twice as long
        tier.get_many([b"k"])
        assert len(caplog.records) == 2
    assert tier.counts.degraded == 1012


def test_a_server_that_hangs_costs_its_time_out_once() -> None:
    with socket.socket() as deaf:  # takes connections, never answers
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        tier = RedisTier(connect(f"redis://127.0.0.1:{deaf.getsockname()[1]}", 50), DIM, 60.0)
        started = time.monotonic()
        for _ in range(20):
            assert not tier.get_many([b"k"] * 256)[1].any()
        assert time.monotonic() - started < 5.0
        assert tier.counts.degraded == 20 * 256


def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    now = [0.0]
    with EmbeddedRedis(tmp_path, 16) as server, connect(server.url, SLOW_MS) as client:
        tier = RedisTier(client, DIM, 60.0, breaker=Breaker(lambda: now[0]))
        tier.put_many([b"k"], random_entries(1))
        os.kill(client.info()["process_id"], signal.SIGKILL)
        wait_for(lambda: not tier.get_many([b"k"])[1].any())
    with EmbeddedRedis(tmp_path, 16) as again, connect(again.url, SLOW_MS) as other:
        tier._client = other
        now[0] = 100.0
        tier.put_many([b"k"], random_entries(1))
        assert tier.get_many([b"k"])[1].all()


def test_a_password_comes_from_the_environment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedRedis(tmp_path, 16) as server:
        with connect(server.url, SLOW_MS) as client:
            client.config_set("requirepass", "moonlight")
        with pytest.raises(InputError, match="refuses") as refused:
            check(server.url, SLOW_MS)
        assert "CATENA_REDIS_PASSWORD" in refused.value.remedy
        monkeypatch.setenv("CATENA_REDIS_PASSWORD", "starlight")
        with pytest.raises(InputError, match="refuses") as refused:
            check(server.url, SLOW_MS)
        assert "starlight" not in str(refused.value)
        monkeypatch.setenv("CATENA_REDIS_PASSWORD", "moonlight")
        check(server.url, SLOW_MS)
    monkeypatch.delenv("CATENA_REDIS_PASSWORD")
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING, "catena"):
        check(server.url, SLOW_MS)  # it is gone
    assert "going on without it" in caplog.text


def test_one_server_for_a_folder_which_ends_with_its_owner_and_keeps_its_vectors(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, 16) as owner, EmbeddedRedis(tmp_path, 16) as guest:
        assert guest.url == owner.url
        with connect(owner.url, SLOW_MS) as client:
            RedisTier(client, DIM, 60.0).put_many([b"k"], random_entries(1))
        guest.close()
        with connect(owner.url, SLOW_MS) as client:
            assert client.exists(b"k")
    with pytest.raises(RedisConnectionError), connect(owner.url, SLOW_MS) as client:
        client.ping()
    assert not Path(owner.url.removeprefix("unix://")).parent.exists()
    with EmbeddedRedis(tmp_path, 16) as again, connect(again.url, SLOW_MS) as client:
        assert client.exists(b"k")


OWNER = """
import sys
from pathlib import Path
from data.cache.embedded import EmbeddedRedis

server = EmbeddedRedis(Path(sys.argv[1]), 16)
print(server.url, flush=True)
sys.stdin.read()
"""


def test_a_killed_owner_leaves_no_server_behind(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], cwd=REPOSITORY, stdin=pipe, stdout=pipe)
    assert owner.stdout is not None
    with connect(owner.stdout.readline().decode().strip(), SLOW_MS) as client:
        number = client.info()["process_id"]
    assert psutil.pid_exists(number)
    owner.kill()
    owner.communicate()
    wait_for(lambda: not psutil.pid_exists(number))
    with EmbeddedRedis(tmp_path, 16) as again, connect(again.url, SLOW_MS) as client:
        assert client.ping()


def test_one_that_cannot_write_its_file_ends_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.cache.embedded.END_S", 1.0)
    with EmbeddedRedis(tmp_path / "gone", 16) as server, connect(server.url, SLOW_MS) as client:
        client.set("key", "value")
        shutil.rmtree(tmp_path / "gone")
        began = time.monotonic()
        server.close()
    assert time.monotonic() - began < 20


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cache\.folder: .* cannot keep its files in"):
        EmbeddedRedis(tmp_path / "file", 16)
