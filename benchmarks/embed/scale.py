"""A million passages through everything but a real encoder: cut, read, looked for in caches, made up, written.

``python -m benchmarks.embed.scale DOCUMENTS FOLDER`` runs one size in a process of its own, on one core, and prints one
JSON object: rows, seconds of wall clock and of processor, and peak memory of the driver and of the actor.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.rows import Row
from data.cache import CacheConfig
from data.embedding.config import EmbedConfig
from data.embedding.embed import embed
from data.encoders.config import PluginConfig
from data.partitions import partition_name, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.schema import DOCUMENTS
from ray_apps.cluster import connect
from ray_apps.config import RayConfig

SIZES = (100_000, 1_000_000)
ACTOR = "EmbedPartition"  # in the title that Ray gives the actor's process
DOCUMENTS_A_PARTITION = 8192
WORDS = "moon sea harbour sparse matrix inverse verse kernel graph pilot almanac column wind".split()


def measure() -> list[Row]:
    """Rows per second of one core's time at a million passages, and growth of memory from a tenth of them."""
    few, many = (_in_a_process(size) for size in SIZES)
    growth = {side: 100 * (many[side] / few[side] - 1) for side in ("driver_mib", "actor_mib")}
    worst = max(growth, key=lambda side: growth[side])
    return [
        Row(
            id="embed.million_rows_per_s_per_core",
            what=f"passages per second of processor time, of every process, Ray's own included: {many['passages']:,} "
            "synthetic passages of 30 words cut, looked for in memory and in an embedded Redis, which hold none "
            "of them, embedded by an encoder that costs nothing, left in the cache, and written to Parquet",
            value=many["passages"] / many["processor_s"],
            unit="rows/s",
            at_least=20_000,
            peer=f"by the clock, on one core shared with other work: {many['passages'] / many['clock_s']:,.0f} rows/s; "
            f"cutting {many['passages'] / many['chunk_processor_s']:,.0f} rows/s of processor time",
        ),
        Row(
            id="embed.million_memory_growth",
            what=f"growth of peak memory from {few['passages']:,} to {many['passages']:,} passages, the larger of "
            "driver's and actor's",
            value=growth[worst],
            unit="%",
            at_most=10.0,
            peer=f"driver {few['driver_mib']:.0f} to {many['driver_mib']:.0f} MiB, "
            f"actor {few['actor_mib']:.0f} to {many['actor_mib']:.0f} MiB",
        ),
    ]


def _in_a_process(size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.embed.scale", str(size), folder]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


def main(size: int, folder: Path) -> int:
    """Run one size and print what it took."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    write_documents(size, folder / "documents")
    connect(RayConfig(num_cpus=1, object_store_mb=128))
    with watching() as use:
        began = time.perf_counter()
        chunk(folder / "documents", ChunkConfig(), folder)
        chunk_s, chunk_processor_s = time.perf_counter() - began, use.seconds()
        encoder = PluginConfig(model="benchmarks.embed.stub_encoder:load")
        cache = CacheConfig(documents=True, redis="embedded", folder=folder / "cache")
        result = embed(folder / "passages", encoder, EmbedConfig(), folder, cache)
    measured = {
        "passages": result["passages"],
        "clock_s": chunk_s + result["passages"] / result["passages_per_s"],
        "processor_s": use.seconds(),
        "chunk_processor_s": chunk_processor_s,
        "driver_mib": use.peak_mib[os.getpid()],
        "actor_mib": max(peak for pid, peak in use.peak_mib.items() if ACTOR in use.titles[pid]),
    }
    sys.stdout.write(json.dumps(measured) + "\n")
    return 0


def write_documents(count: int, folder: Path) -> None:
    """Documents of 30 words, each a passage of its own."""
    folder.mkdir()
    texts = _texts()
    for number, start in enumerate(range(0, count, DOCUMENTS_A_PARTITION)):
        part = list(islice(texts, min(DOCUMENTS_A_PARTITION, count - start)))
        rows = {
            "id": [f"d{start + row}" for row in range(len(part))],
            "title": ["a title"] * len(part),
            "text": part,
            "metadata": pa.nulls(len(part), DOCUMENTS.field("metadata").type),
            "time": pa.nulls(len(part), DOCUMENTS.field("time").type),
        }
        write_partition(pa.table(rows, schema=DOCUMENTS), folder / partition_name(number))


def _texts() -> Iterator[str]:
    number = 0
    while True:
        yield f"{number} " + " ".join(
            WORDS[(number * 7 + place * (number % 5 + 1)) % len(WORDS)] for place in range(29)
        )
        number += 1


class Use:
    """Processor time and peak memory of this process and its descendants, those that have ended included."""

    def __init__(self) -> None:
        self.peak_mib: dict[int, float] = {}
        self.titles: dict[int, str] = {}
        self._seconds: dict[int, tuple[float, float]] = {}  # by process: when first seen, and last

    def look(self) -> None:
        """Read what each process has used so far."""
        import psutil

        begins = not self._seconds
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                times = process.cpu_times()
                status = Path(f"/proc/{process.pid}/status").read_text()
                title = " ".join(process.cmdline())
            except (psutil.Error, OSError):
                continue
            if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                self.peak_mib[process.pid] = int(found[1]) / 1024
            used = times.user + times.system
            first, _ = self._seconds.get(process.pid, (used if begins else 0.0, used))
            self._seconds[process.pid] = (first, used)
            self.titles[process.pid] = max(title, self.titles.get(process.pid, ""), key=lambda seen: ACTOR in seen)

    def seconds(self) -> float:
        """Processor seconds since the first look."""
        self.look()
        return sum(last - first for first, last in self._seconds.values())


@contextmanager
def watching() -> Iterator[Use]:
    """Look five times a second as long as it is entered."""
    use, over = Use(), threading.Event()
    use.look()

    def look() -> None:
        while not over.wait(0.2):
            use.look()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield use
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
