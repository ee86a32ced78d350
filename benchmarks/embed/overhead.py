"""What Ray Data adds around the encoder: time, a start, and the driver's memory."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.embed.texts import sample, write_passages
from benchmarks.rows import Row
from data.embedding.config import EmbedConfig
from data.embedding.embed import embed
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.partitions import partitions
from ray_apps.cluster import connect
from ray_apps.config import RayConfig

ROUNDS = 3
OVERHEAD_DOCUMENTS = 10_000
OVERHEAD_CHARACTERS = 160  # short, so that the encoder hides as little as possible of the work around it
DRIVER_PASSAGES = (10_000, 100_000)


def measure() -> list[Row]:
    """Every row; about three minutes on two cores."""
    return [*_around_the_encoder(), _driver_memory()]


def _around_the_encoder() -> list[Row]:
    """Rounds of the bare loop and of the pipeline by turns, over the same partitions."""
    encoder = load_encoder(TransformerConfig())
    _, texts = sample(OVERHEAD_DOCUMENTS)
    connect(RayConfig())
    extra, startups, rates = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        short = (text[:OVERHEAD_CHARACTERS] for text in cycle(texts))
        passages = write_passages(short, OVERHEAD_DOCUMENTS, Path(folder) / "passages")
        windows = [pq.read_table(path, columns=["text"])["text"].to_pylist() for path in partitions(passages)]
        for number in range(ROUNDS):
            started = time.perf_counter()
            for window in windows:
                encoder.encode(window)
            bare = OVERHEAD_DOCUMENTS / (time.perf_counter() - started)
            result = embed(passages, TransformerConfig(), EmbedConfig(), Path(folder) / f"round-{number}")
            extra.append(100 * (bare / result["passages_per_s"] - 1))
            startups.append(result["startup_seconds"])
            rates.append((bare, result["passages_per_s"]))
    bare, piped = (statistics.median(side) for side in zip(*rates, strict=True))
    return [
        Row(
            id="embed.ray_data_overhead",
            what="time that Ray Data, reading and writing add to the bare encoder loop, once the actors are up, "
            f"{OVERHEAD_DOCUMENTS:,} texts of {OVERHEAD_CHARACTERS} characters",
            value=statistics.median(extra),
            unit="%",
            at_most=10.0,
            peer=f"bare loop: {bare:.0f} texts/s; on Ray Data: {piped:.0f}",
        ),
        Row(
            id="embed.startup",
            what="time until the first actor has loaded its encoder: process, torch, model, check of bf16",
            value=statistics.median(startups),
            unit="s",
        ),
    ]


def _driver_memory() -> Row:
    """The driver's peak in a process of its own, at two sizes, with an encoder that costs nothing."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for count in DRIVER_PASSAGES:
            texts = (f"passage {number} of {count}" for number in range(count))
            passages = write_passages(texts, count, Path(folder) / f"passages-{count}")
            command = [sys.executable, "-m", "benchmarks.embed.driver", str(passages), f"{folder}/vectors-{count}"]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks.append(json.loads(run.stdout.splitlines()[-1])["peak_mib"])
    few, many = peaks
    return Row(
        id="embed.driver_memory_growth",
        what=f"growth of the driver's peak memory from {DRIVER_PASSAGES[0]:,} to {DRIVER_PASSAGES[1]:,} passages",
        value=100 * (many / few - 1),
        unit="%",
        at_most=10.0,
        peer=f"{few:.0f} MiB to {many:.0f} MiB",
    )
