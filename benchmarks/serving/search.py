"""Hybrid search over Cranfield with its own questions: both layouts, beside a service as one would write it."""

import json
import random
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.serving.load import Asked, closed_loop, free_port, request
from benchmarks.serving.servers import running
from data.partitions import read_table
from ray_apps.config import load_run
from ray_apps.plan import Plan

RUN = Path(__file__).resolve().parents[2] / "runs" / "cranfield.yaml"
CONCURRENCY = (1, 8, 32)
SECONDS = 5.0
STRETCH = 2400  # requests of one turn: more than are answered in it
REPEATS = 3
AT_LEAST = {1: 65.0, 32: 220.0}
REACH = {1: 100.0, 32: 350.0}


def measure() -> list[Row]:
    """Requests a second and latency at 1, 8 and 32 connections."""
    plan = Plan(load_run(RUN))
    plan.bring("index")
    passages, vectors = plan.bring("chunk").path / "passages", plan.bring("embed").path / "vectors"
    asked = questions()
    again = asked[:100]
    leave_ray()
    found: dict[str, dict[int, list[Asked]]] = {}
    for layout in ("compact", "spread"):
        ours, peer = free_port(), free_port()
        commands = {
            layout: (
                [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(ours), "--serve.layout", layout],
                ours,
            ),
            "naive": (
                [sys.executable, "-m", "benchmarks.serving.naive_search", str(passages), str(vectors), str(peer)],
                peer,
            ),
        }
        with ExitStack() as servers:
            for command, port in commands.values():
                servers.enter_context(running(command, port, asked[0]))
            for connections in CONCURRENCY:
                for _ in range(REPEATS):
                    for name, (_, port) in commands.items():
                        turn = closed_loop(port, connections, _next(asked), SECONDS)
                        found.setdefault(name, {}).setdefault(connections, []).append(turn)
            if layout == "compact":
                kept = [closed_loop(ours, 8, again, SECONDS) for _ in range(REPEATS + 1)][1:]
    return [
        *(row for connections in CONCURRENCY for row in _rows(found, connections)),
        _kept(kept, found["compact"][8]),
    ]


def questions() -> list[bytes]:
    """Searches of Cranfield's questions, their words in many orders, none twice."""
    texts = read_table(Plan(load_run(RUN)).bring("ingest").path / "queries", ["text"])["text"].to_pylist()
    return [_ask(" ".join(words)) for words in _shuffled(texts)]


def _ask(question: str) -> bytes:
    return request("/v1/search", json.dumps({"query": question, "top_k": 10}).encode())


def _shuffled(questions: Sequence[str], times: int = 400) -> list[list[str]]:
    """Each question in many orders of its words: as long and as hard, and none that was answered before."""
    rng = random.Random(0)
    return [
        rng.sample(words, len(words)) for _ in range(times) for words in (question.split() for question in questions)
    ]


def _next(asked: list[bytes]) -> list[bytes]:
    """Requests that were not made yet."""
    taken, asked[:] = asked[:STRETCH], asked[STRETCH:]
    return taken


def _kept(again: Sequence[Asked], anew: Sequence[Asked]) -> Row:
    ratio = statistics.median(turn.rate for turn in again) / statistics.median(turn.rate for turn in anew)
    return Row(
        id="serve.kept_ratio",
        what="requests/s of a hundred questions that were answered before over those of new ones, 8 connections",
        value=round(ratio, 2),
        unit="times",
        at_least=3.0,
        peer=described(again),
    )


def _rows(found: dict[str, dict[int, list[Asked]]], connections: int) -> list[Row]:
    where = f"hybrid /v1/search over Cranfield at {connections} connection{'s' if connections > 1 else ''}"
    peer = "; ".join(f"{name}: {described(turns[connections])}" for name, turns in found.items())
    compact, naive = found["compact"][connections], found["naive"][connections][:REPEATS]
    ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in zip(compact, naive, strict=True))
    return [
        Row(
            id=f"serve.search_rate_{connections}",
            what=f"{where}, compact",
            value=round(statistics.median(turn.rate for turn in compact), 1),
            unit="requests/s",
            at_least=AT_LEAST.get(connections),
            reach=REACH.get(connections),
            peer=peer,
        ),
        Row(
            id=f"serve.search_ratio_{connections}",
            what=f"{where}, compact, requests/s over those of FastAPI with SentenceTransformer.encode, bm25s and numpy",
            value=round(ratio, 3),
            unit="times",
        ),
    ]


def described(turns: Sequence[Asked]) -> str:
    """Rate and latencies of several turns, in words."""
    rate = statistics.median(turn.rate for turn in turns)
    p50, p99 = (statistics.median(turn.ms(percentile) for turn in turns) for percentile in (50, 99))
    return f"{rate:.1f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def leave_ray() -> None:
    """End the cluster that the stages before may have started: the service starts its own, and needs the cores."""
    import ray

    if ray.is_initialized():
        ray.shutdown()
