"""Embedding: beside sentence-transformers, against the processor's own limit, and what Ray Data adds around it.

Tried on two cores with AMX, bf16, abstracts of 241 tokens, and left out. Figures are documents per second of one core's
time, on a machine with other work, against 70 to 82 of what is in use (padded batches, transformers' SDPA attention):

- no padding, attention by stretches of equal length: 6% more at 2,048 tokens a batch, 1% at 4,096, measured by turns
  (a first version gave 6% less to 17% more from run to run), for 120 lines that know only BERT;
- eager attention: 71 at 2,048 tokens a batch, 45 at 4,096;
- attention as two matrix products and a bare exponential: 6 to 11% less than the former, and its scores reach 81, where
  the exponential overflows at 88;
- batches of 1,024, 4,096 and 8,192 tokens: 4% less, 2% more, 3% less.

What remains between the encoder and the matrix rate is attention's exponentials (41% of the time), GELU (7%), copies
(6%) and layer norms (5%); matrix products take 33%.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.embed_texts import sample, write_passages
from benchmarks.matrix_rate import flop_per_token, matrix_rate
from benchmarks.rows import Row, median_ratio
from data.embed import embed
from data.embed_pool import EmbedConfig
from data.encoders import Encoder, EncoderConfig, load_encoder
from data.encoders.models import find_model
from data.schema import partitions
from ray_apps.cluster import connect
from ray_apps.config import RayConfig

DOCUMENTS = 256  # for the comparison: ten seconds a round
ROUNDS = 3
OVERHEAD_DOCUMENTS = 10_000
OVERHEAD_CHARACTERS = 160  # short, so that the encoder hides as little as possible of what stands around it
DRIVER_PASSAGES = (10_000, 100_000)


def measure() -> list[Row]:
    """Every row of the table; about five minutes on two cores."""
    corpus, texts = sample(DOCUMENTS)
    encoder = load_encoder(EncoderConfig())
    return [*_beside_sentence_transformers(encoder, corpus, texts), *_around_the_encoder(encoder), _driver_memory()]


def _beside_sentence_transformers(encoder: Encoder, corpus: str, texts: Sequence[str]) -> list[Row]:
    import torch
    from sentence_transformers import SentenceTransformer

    peer = SentenceTransformer(find_model(EncoderConfig().model))
    theirs = peer.encode(list(texts), normalize_embeddings=True)
    encoded = encoder.encode_counted(texts)
    cosine = (encoded.vectors * theirs).sum(axis=1)
    ratio, ours_s, peer_s = median_ratio(lambda: encoder.encode(texts), lambda: peer.encode(list(texts)), ROUNDS)
    tokens = int(encoded.tokens.sum())
    limit = matrix_rate(peer[0].auto_model.config, torch.bfloat16 if encoder.precision == "bf16" else torch.float32)
    reached = tokens * flop_per_token(peer[0].auto_model.config) / ours_s
    told = f"{len(texts)} {corpus} of {tokens / len(texts):.0f} tokens"
    return [
        Row(
            id="embed.speed_ratio",
            what=f"documents per second of ours over those of sentence-transformers with its defaults, {told}",
            value=ratio,
            unit="times",
            at_least=2.0,
            peer=f"SentenceTransformer.encode: {len(texts) / peer_s:.1f} documents/s; "
            f"ours, {encoder.precision}: {len(texts) / ours_s:.1f}",
        ),
        Row(
            id="embed.cosine_min",
            what=f"smallest cosine between our vectors and theirs, {told}",
            value=float(cosine.min()),
            unit="cosine",
            at_least=0.999,
            peer="SentenceTransformer.encode, fp32",
        ),
        Row(
            id="embed.cosine_mean",
            what="mean of the same",
            value=float(cosine.mean()),
            unit="cosine",
            at_least=0.999,
            peer="SentenceTransformer.encode, fp32",
        ),
        Row(
            id="embed.share_of_matrix_rate",
            what="matrix products that our encoder gets done per second, of what the machine does in the same shapes "
            f"when it does nothing else, in {encoder.precision}",
            value=100 * reached / limit,
            unit="%",
            peer=f"matrix products alone: {limit / 1e9:,.0f} GFLOP/s",
        ),
    ]


def _around_the_encoder(encoder: Encoder) -> list[Row]:
    """Rounds of the bare loop and of the pipeline by turns, over the same partitions."""
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
            result = embed(passages, EncoderConfig(), EmbedConfig(), Path(folder) / f"round-{number}")
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
            command = [sys.executable, "-m", "benchmarks.embed_driver", str(passages), f"{folder}/vectors-{count}"]
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
