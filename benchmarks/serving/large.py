"""Hybrid search over the 31,102 verses of the King James Bible: latency, and what of it is neither model nor index."""

import http.client
import json
import re
import sys
import threading
from itertools import count

import numpy as np

from benchmarks.rows import Row
from benchmarks.serving.load import free_port, request
from benchmarks.serving.search import leave_ray
from benchmarks.serving.servers import running
from benchmarks.whole_runs import RUNS
from data.partitions import read_table
from ray_apps.config import load_run
from ray_apps.plan import Plan

RUN = RUNS / "kjv.yaml"
CONNECTIONS, ASKED, WARMUP = 8, 2400, 400
_TIMING = re.compile(r"(\w+);dur=([0-9.]+)")


def measure() -> list[Row]:
    """Questions of words of verses, each once, at eight connections."""
    plan = Plan(load_run(RUN))
    plan.bring("index")
    verses = read_table(plan.bring("ingest").path / "documents", ["text"])["text"].to_pylist()
    rng = np.random.default_rng(0)
    texts = [" ".join(verses[n].split()[:8]) for n in rng.choice(len(verses), ASKED + WARMUP, replace=False)]
    bodies = [json.dumps({"query": text, "top_k": 10}) for text in texts]
    leave_ray()
    port = free_port()
    command = [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(port)]
    with running(command, port, request("/v1/search", bodies[0].encode())):
        _ask_all(port, bodies[:WARMUP])
        timings = np.array(_ask_all(port, bodies[WARMUP:]))
    total, rest = timings[:, 0], timings[:, 0] - timings[:, 1]
    p50, p99 = np.percentile(total, (50, 99))
    return [
        Row(
            id="serve.large_rest_ms",
            what=f"hybrid /v1/search over 31,102 verses, {CONNECTIONS} connections: time of an answer that is neither "
            "encoding nor the index, in the service, p50",
            value=round(float(np.median(rest)), 2),
            unit="ms",
            at_most=5.0,
            peer=f"whole answers p50 {p50:.1f} ms, p99 {p99:.1f} ms; the rest p99 {np.percentile(rest, 99):.1f} ms",
        )
    ]


def _ask_all(port: int, bodies: list[str]) -> list[tuple[float, float]]:
    """Of each answer, by its ``Server-Timing``: milliseconds in all, and in encoder and index with their queues."""
    found: list[tuple[float, float]] = []
    turn = count()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while (number := next(turn)) < len(bodies):
            connection.request("POST", "/v1/search", bodies[number], {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            spent = {name: float(ms) for name, ms in _TIMING.findall(answer.headers["server-timing"])}
            found.append((spent["total"], spent["encode"] + spent["search"]))

    threads = [threading.Thread(target=ask) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
