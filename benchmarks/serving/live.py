"""Documents put into a service that runs: how many a second, and what searches cost with 10,000 of them."""

import json
import random
import shutil
import statistics
import sys
import time
from collections.abc import Iterator

from benchmarks.rows import Row
from benchmarks.serving.load import Asked, closed_loop, free_port, request
from benchmarks.serving.search import RUN, described, leave_ray
from benchmarks.serving.servers import running
from data.partitions import read_table
from ray_apps.config import load_run
from ray_apps.live import live_folder
from ray_apps.plan import Plan
from serving.client import Client

NAME = "cranfield-live"  # a run of its own: what is put stays out of the other's corpus
DOCUMENTS = 10_000
WORDS = 40  # of a document: one passage
CONNECTIONS = (1, 8)
SECONDS = 5.0
REPEATS = 3


def measure() -> list[Row]:
    """Documents a second, and requests a second without and with 10,000 live documents."""
    plan = Plan(load_run(RUN, ["--name", NAME]))
    plan.bring("index")
    plan.bring("lookup")
    texts = read_table(plan.bring("ingest").path / "documents", ["text"])["text"].to_pylist()
    questions = read_table(plan.bring("ingest").path / "queries", ["text"])["text"].to_pylist()
    leave_ray()
    shutil.rmtree(live_folder(plan.run), ignore_errors=True)
    port, rng = free_port(), random.Random(0)
    flags = ["--name", NAME, "--serve.port", str(port)]
    try:
        with running([sys.executable, "-m", "ray_apps.serve", str(RUN), *flags], port, _ask(questions[0].split(), rng)):
            without = {connections: _turns(port, connections, questions, rng) for connections in CONNECTIONS}
            with Client(f"http://127.0.0.1:{port}") as client:
                started = time.perf_counter()
                client.put_documents(_documents(texts, rng))
                seconds = time.perf_counter() - started
            beside = {connections: _turns(port, connections, questions, rng) for connections in CONNECTIONS}
    finally:
        shutil.rmtree(live_folder(plan.run), ignore_errors=True)
    return [
        Row(
            id="serve.documents_rate",
            what=f"documents of {WORDS} words put by PUT /v1/documents, embedded, on disk and searchable, 64 a request",
            value=round(DOCUMENTS / seconds, 1),
            unit="documents/s",
        ),
        *(_row(connections, without[connections], beside[connections]) for connections in CONNECTIONS),
    ]


def _documents(texts: list[str], rng: random.Random) -> Iterator[dict[str, str]]:
    """Stretches of Cranfield's abstracts under new ids, none twice."""
    for number in range(DOCUMENTS):
        words = rng.choice(texts).split()
        start = rng.randrange(max(1, len(words) - WORDS))
        yield {"id": f"live/{number}", "text": f"{number} {' '.join(words[start : start + WORDS])}"}


def _turns(port: int, connections: int, questions: list[str], rng: random.Random) -> list[Asked]:
    asked = [_ask(rng.choice(questions).split(), rng) for _ in range(9000)]  # new orders of words: none is kept
    return [closed_loop(port, connections, asked[turn::REPEATS], SECONDS) for turn in range(REPEATS)]


def _ask(words: list[str], rng: random.Random) -> bytes:
    query = " ".join(rng.sample(words, len(words)))
    return request("/v1/search", json.dumps({"query": query, "top_k": 10}).encode())


def _row(connections: int, without: list[Asked], beside: list[Asked]) -> Row:
    ratio = statistics.median(turn.rate for turn in beside) / statistics.median(turn.rate for turn in without)
    where = f"{connections} connection{'s' if connections > 1 else ''}"
    return Row(
        id=f"serve.live_search_ratio_{connections}",
        what=f"hybrid /v1/search over Cranfield, {where}, with {DOCUMENTS:,} live documents beside its 1,398: "
        "requests/s over those without",
        value=round(ratio, 3),
        unit="times",
        peer=f"with: {described(beside)}; without: {described(without)}",
    )
