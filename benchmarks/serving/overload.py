"""Three times as many requests as can be answered: how much is answered, and what the rest is told."""

import json
import sys

import psutil

from benchmarks.embed.texts import sample
from benchmarks.rows import Row
from benchmarks.serving.load import closed_loop, free_port, open_loop, request
from benchmarks.serving.search import RUN, leave_ray
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan

SECONDS = 30.0
CAPACITY_S = 10.0  # right before the overload and right after it: a machine is not equally fast at all times
LIGHT_S = 600.0
LONGEST_WAIT_S = 1.0


def measure() -> list[Row]:
    """Short texts in /v1/embeddings at three times the capacity, and at 70% of it."""
    Plan(load_run(RUN)).bring("index")
    leave_ray()
    _, texts = sample(512)
    asked = [request("/v1/embeddings", json.dumps({"input": text[:120]}).encode()) for text in texts]
    port = free_port()
    command = [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(port)]
    with running([*command, "--serve.longest-wait-s", str(LONGEST_WAIT_S)], port, asked[0]) as process:
        at_first = closed_loop(port, 64, asked, CAPACITY_S).rate
        light = open_loop(port, 0.7 * at_first, asked, LIGHT_S)
        before, between = memory(process.pid), closed_loop(port, 64, asked, CAPACITY_S).rate
        heavy = open_loop(port, 3 * between, asked, SECONDS)
        grown = memory(process.pid) - before
        capacity = (between + closed_loop(port, 64, asked, CAPACITY_S).rate) / 2
    others = sum(count for status, count in heavy.statuses.items() if status not in (200, 429))
    told = ", ".join(f"{status}: {count}" for status, count in sorted(heavy.statuses.items()))
    return [
        Row(
            id="serve.goodput",
            what="answers a second at three times the capacity over the capacity, /v1/embeddings of short texts",
            value=round(heavy.rate / capacity, 3),
            unit="times",
            at_least=0.9,
            peer=f"capacity {capacity:.1f} requests/s at 64 connections, mean of before and after; {told}; "
            f"p99 of answers {heavy.ms(99):.0f} ms",
        ),
        Row(
            id="serve.overload_others",
            what="answers other than 200 and 429 at three times the capacity",
            value=others,
            unit="answers",
            at_most=0.0,
        ),
        Row(
            id="serve.overload_memory",
            what="memory that all processes of the service grew by under overload",
            value=round(grown / 2**20, 1),
            unit="MiB",
            at_most=256.0,
        ),
        Row(
            id="serve.light_failures",
            what=f"answers other than 200 at 70% of the capacity, random arrivals, {LIGHT_S / 60:g} minutes",
            value=sum(count for status, count in light.statuses.items() if status != 200),
            unit="answers",
            at_most=0.0,
            peer=f"{sum(light.statuses.values()):,} requests",
        ),
        Row(
            id="serve.light_p99",
            what=f"p99 over p50 at 70% of the capacity, random arrivals, {LIGHT_S / 60:g} minutes",
            value=round(light.ms(99) / light.ms(50), 2),
            unit="times",
            at_most=5.0,
            peer=f"p50 {light.ms(50):.1f} ms, p99 {light.ms(99):.1f} ms; {dict(light.statuses)}",
        ),
    ]


def memory(pid: int) -> int:
    """Resident bytes of a process and all that it started."""
    process = psutil.Process(pid)
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
