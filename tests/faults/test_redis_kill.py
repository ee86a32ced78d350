"""kill -9 of Redis in mid-run: the job ends with the same rows, and says how much it did without."""

import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from data.cache import CacheConfig
from data.cache.embedded import EmbeddedRedis
from data.cache.redis import connect
from data.embedding.embed import EmbedConfig, embed
from data.encoders.config import PluginConfig
from data.partitions import partition_name, partitions, read_table, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.schema import DOCUMENTS

PARTITIONS, ROWS = 40, 100


def checksums(out: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in partitions(out / "vectors")]


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_killed_redis_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    rows = [{"id": f"d{n}", "title": f"Title {n}", "text": f"text number {n}"} for n in range(PARTITIONS * ROWS)]
    write_partition(pa.Table.from_pylist(rows, schema=DOCUMENTS), tmp_path / "documents" / partition_name(0))
    chunk(tmp_path / "documents", ChunkConfig(partition_rows=ROWS), tmp_path)
    passages, encoder = tmp_path / "passages", PluginConfig(model="benchmarks.embed.stub_encoder:load")
    embed(passages, encoder, EmbedConfig(actors=1), tmp_path / "undisturbed")

    out, killed_at = tmp_path / "embedded", list[int]()
    with EmbeddedRedis(tmp_path / "redis", 64) as server, connect(server.url, 5000) as client:
        number = client.info()["process_id"]

        def kill() -> None:
            end = time.monotonic() + 120
            while len(partitions(out / "vectors")) < 3 and time.monotonic() < end:
                time.sleep(0.01)
            os.kill(number, signal.SIGKILL)
            killed_at.append(len(partitions(out / "vectors")))

        killer = threading.Thread(target=kill)
        killer.start()
        # memory_mb=0: every lookup goes to Redis
        cache = CacheConfig(documents=True, redis=server.url, memory_mb=0, timeout_ms=2000)
        result = embed(passages, encoder, EmbedConfig(actors=1), out, cache)
        killer.join()

    assert 3 <= killed_at[0] < PARTITIONS, "Redis was not killed in mid-run"
    assert checksums(out) == checksums(tmp_path / "undisturbed")
    assert read_table(out / "vectors")["id"].to_pylist() == read_table(passages)["id"].to_pylist()
    redis = result["cache"]["redis"]
    assert redis["lookups"] == PARTITIONS * ROWS and redis["hits"] == 0
    # What was asked, and what was to be kept, after it was killed.
    assert 0 < redis["degraded"] <= 2 * ROWS * (PARTITIONS - 2)
