"""Requests per second and latency of /v1/search, ours beside the naive way, on the same machine in the same minutes."""

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from data.partitions import read_table
from ray_apps.config import load_run
from ray_apps.plan import Plan

RUN = Path(__file__).resolve().parents[1] / "runs" / "cranfield.yaml"
CONCURRENCY = (1, 8)
SECONDS = 5.0
REPEATS = 3
AT_LEAST = {1: 0.5, 8: 1.0}  # alone, a request pays for Ray Serve's proxy and two hops between processes


def measure() -> list[Row]:
    """Hybrid search over Cranfield, its own questions, at one and at eight connections."""
    plan = Plan(load_run(RUN))
    built, passages, vectors = (
        plan.bring("index"),
        plan.bring("chunk").path / "passages",
        plan.bring("embed").path / "vectors",
    )
    assert built.done
    questions = read_table(plan.bring("ingest").path / "queries", ["text"])["text"].to_pylist()
    bodies = [json.dumps({"query": question, "top_k": 10}).encode() for question in questions]
    ours, peer = free_port(), free_port()
    _leave_ray()
    commands = [
        ["ray_apps.serve", str(RUN), "--serve.port", str(ours)],
        ["benchmarks.naive_search", str(passages), str(vectors), str(peer)],
    ]
    with _running(commands[0], ours, bodies[0]), _running(commands[1], peer, bodies[0]):
        return [row for connections in CONCURRENCY for row in _rows(ours, peer, connections, bodies)]


def _rows(ours: int, peer: int, connections: int, bodies: Sequence[bytes]) -> list[Row]:
    """Both are loaded turn by turn, so that a busy machine slows both."""
    turns = [[load(port, connections, bodies, SECONDS) for port in (ours, peer)] for _ in range(REPEATS)]
    rates = [statistics.median(len(turn[who]) / SECONDS for turn in turns) for who in (0, 1)]
    p50s = [statistics.median(float(np.median(turn[who])) * 1000 for turn in turns) for who in (0, 1)]
    ratio = statistics.median(len(mine) / max(len(theirs), 1) for mine, theirs in turns)
    where = f"hybrid /v1/search over Cranfield at {connections} connection{'s' if connections > 1 else ''}"
    naive = "FastAPI, SentenceTransformer.encode per request, bm25s, numpy"
    return [
        Row(
            id=f"serve.search_rate_{connections}",
            what=f"{where}, requests/s against the naive service's",
            value=round(ratio, 3),
            unit="times",
            at_least=AT_LEAST[connections],
            peer=f"{rates[0]:.1f} requests/s ours, {rates[1]:.1f} {naive}",
        ),
        Row(
            id=f"serve.search_p50_{connections}",
            what=f"{where}, median latency",
            value=round(p50s[0], 2),
            unit="ms",
            peer=f"{p50s[1]:.2f} ms {naive}",
        ),
    ]


def load(port: int, connections: int, bodies: Sequence[bytes], seconds: float) -> list[float]:
    """Ask as fast as answers come, over connections kept open.

    The client is a bare socket: an HTTP library would take a large share of two cores from the servers.

    Returns:
        Seconds of each answered request.

    Raises:
        RuntimeError: if an answer is not a success.
    """

    async def one(number: int, until: float) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        taken = []
        turn = number * 31
        while time.perf_counter() < until:
            body = bodies[turn % len(bodies)]
            turn += 1
            started = time.perf_counter()
            writer.write(_request(body))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"port {port} answered {head.splitlines()[0].decode()}")
            await reader.readexactly(_content_length(head))
            taken.append(time.perf_counter() - started)
        writer.close()
        return taken

    async def all_connections() -> list[float]:
        until = time.perf_counter() + seconds
        parts = await asyncio.gather(*(one(number, until) for number in range(connections)))
        return [second for part in parts for second in part]

    return asyncio.run(all_connections())


def _request(body: bytes) -> bytes:
    head = (
        f"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))


@contextmanager
def _running(command: Sequence[str], port: int, body: bytes) -> Iterator[None]:
    """A server in a process of its own, from its first answer until the block ends."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log)
        try:
            give_up = time.monotonic() + 180
            while not _answers(port, body):
                if process.poll() is not None or time.monotonic() > give_up:
                    log.seek(0)
                    raise RuntimeError(f"{command[0]} did not start: {log.read().decode()[-2000:]}")
                time.sleep(0.5)
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def _answers(port: int, body: bytes) -> bool:
    try:
        load(port, 1, [body], 0.2)
    except (OSError, RuntimeError, asyncio.IncompleteReadError):
        return False
    return True


def _leave_ray() -> None:
    """End the cluster that the stages before may have started: the service starts its own, and needs the cores."""
    import ray

    if ray.is_initialized():
        ray.shutdown()


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
