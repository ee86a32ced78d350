"""Three times as many requests as can be answered: how much is answered, and what the rest is told."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import psutil

from benchmarks.embed.texts import sample
from benchmarks.rows import Row
from benchmarks.serving.load import Asked, closed_loop, free_port, open_loop, request
from benchmarks.serving.search import RUN, leave_ray
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan

SECONDS = 30.0
CAPACITY_S = 10.0  # right before a load and right after it: a machine is not equally fast at all times
LIGHT_S = 600.0
LIGHT, STRETCH_S = 0.7, 60.0  # of the capacity, as it was measured before each stretch
LONGEST_WAIT_S = 1.0
CONNECTIONS = 64  # that the capacity is measured with


def measure() -> list[Row]:
    """Short texts in /v1/embeddings at three times the capacity, and at 70% of it."""
    Plan(load_run(RUN)).bring("index")
    leave_ray()
    _, texts = sample(512)
    asked = [request("/v1/embeddings", json.dumps({"input": text[:120]}).encode()) for text in texts]
    port = free_port()
    command = [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(port)]
    with running([*command, "--serve.longest-wait-s", str(LONGEST_WAIT_S)], port, asked[0]) as process:
        rates, light = _light(port, asked)
        before, between = memory(process.pid), rates[-1]
        service_s, client_s = processor_s(process.pid), time.process_time()
        heavy = open_loop(port, 3 * between, asked, SECONDS)
        service_s, client_s = processor_s(process.pid) - service_s, time.process_time() - client_s
        grown = memory(process.pid) - before
        after = closed_loop(port, CONNECTIONS, asked, CAPACITY_S).rate
    others = sum(count for status, count in heavy.statuses.items() if status not in (200, 429))
    return [
        Row(
            id="serve.goodput",
            what="answers a second at three times the capacity over the capacity, /v1/embeddings of short texts",
            value=round(2 * heavy.rate / (between + after), 3),
            unit="times",
            at_least=0.9,
            peer=f"{heavy.rate:.1f} answers a second; capacity at {CONNECTIONS} connections {between:.1f} before and "
            f"{after:.1f} after; {_told(heavy)}; p99 of answers {heavy.ms(99):.0f} ms; cores used: "
            f"{service_s / heavy.took_s:.2f} by the service, {client_s / heavy.took_s:.2f} by the load generator",
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
            peer=f"{sum(light.statuses.values()):,} requests; capacity, measured before each minute and after the "
            f"last, from {min(rates):.1f} to {max(rates):.1f} requests/s",
        ),
        Row(
            id="serve.light_p99",
            what=f"p99 over p50 at 70% of the capacity, random arrivals, {LIGHT_S / 60:g} minutes",
            value=round(light.ms(99) / light.ms(50), 2),
            unit="times",
            at_most=5.0,
            peer=f"p50 {light.ms(50):.1f} ms, p99 {light.ms(99):.1f} ms; {_told(light)}",
        ),
    ]


def _light(port: int, asked: Sequence[bytes]) -> tuple[list[float], Asked]:
    """The load below the capacity, which is measured before each stretch, and after the last one.

    Returns:
        The capacities, requests a second, and all stretches as one.
    """
    rates, parts = [closed_loop(port, CONNECTIONS, asked, CAPACITY_S).rate], list[Asked]()
    for stretch in range(max(1, round(LIGHT_S / STRETCH_S))):
        parts.append(open_loop(port, LIGHT * rates[-1], asked, min(LIGHT_S, STRETCH_S), seed=stretch))
        rates.append(closed_loop(port, CONNECTIONS, asked, CAPACITY_S).rate)
    seconds = [one for part in parts for one in part.seconds]
    statuses = sum((part.statuses for part in parts), Counter[int]())
    return rates, Asked(seconds, statuses, sum(part.took_s for part in parts))


def _told(asked: Asked) -> str:
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(asked.statuses.items()))


def memory(pid: int) -> int:
    """Resident bytes of a process and all that it started."""
    return int(_total(pid, lambda process: process.memory_info().rss))


def processor_s(pid: int) -> float:
    """Seconds that the cores worked for a process and all that it started."""
    return _total(pid, lambda process: sum(process.cpu_times()[:2]))


def _total(pid: int, of: Callable[[psutil.Process], float]) -> float:
    """A figure of a process and all that it started, summed; those that end meanwhile are left out."""
    process, total = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            total += of(one)
        except psutil.NoSuchProcess:
            continue
    return total
