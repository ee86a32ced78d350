"""``/v1/rank`` under load: 500 candidates named in each request, intents that were asked before, eight connections."""

import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.ranking.ranked_service import CAPABILITIES_THERE, WORDS, capability, prepare
from benchmarks.rows import Row
from benchmarks.serving.load import Asked, closed_loop, free_port, request
from benchmarks.serving.search import RUN, described, leave_ray
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan

CANDIDATES, CONNECTIONS, INTENTS = 500, 8, 200
SECONDS, REPEATS = 5.0, 3
BOUNDS_MS = {50: (10.0, 5.0), 99: (40.0, 20.0)}  # percentile: at most, hoped for


def measure() -> list[Row]:
    """Median and 99th percentile of the latency, of three turns."""
    plan = Plan(load_run(RUN))
    for stage in ("index", "lookup"):
        plan.bring(stage)
    leave_ray()
    with tempfile.TemporaryDirectory() as folder:
        prepare(RUN, Path(folder))
        asked, port = questions(), free_port()
        command = [sys.executable, "-m", "benchmarks.ranking.ranked_service", folder, str(port)]
        with running(command, port, asked[0]):
            closed_loop(port, CONNECTIONS, asked, 2.0)  # each intent is known after this
            turns = [closed_loop(port, CONNECTIONS, asked, SECONDS) for _ in range(REPEATS)]
            alone = closed_loop(port, 1, asked, SECONDS)
    return [_row(percentile, turns, alone) for percentile in BOUNDS_MS]


def questions() -> list[bytes]:
    """Requests of 200 intents, each with candidates of its own."""
    rng = np.random.default_rng(1)
    bodies = []
    for number in range(INTENTS):
        among = rng.choice(CAPABILITIES_THERE, CANDIDATES, replace=False).tolist()
        intent = f"{WORDS[number % len(WORDS)]} in town {number}"
        bodies.append({"intent": intent, "candidates": [capability(one) for one in among], "top_k": 10})
    return [request("/v1/rank", json.dumps(body).encode()) for body in bodies]


def _row(percentile: int, turns: list[Asked], alone: Asked) -> Row:
    at_most, reach = BOUNDS_MS[percentile]
    return Row(
        id=f"rank.serve_p{percentile}",
        what=f"/v1/rank, {CANDIDATES} candidates of {CAPABILITIES_THERE:,} capabilities, cached intent, features, "
        f"Thompson sampling and the journal on, {CONNECTIONS} connections, p{percentile}",
        value=round(statistics.median(turn.ms(percentile) for turn in turns), 2),
        unit="ms",
        at_most=at_most,
        reach=reach,
        peer=f"{described(turns)}; alone p50 {alone.ms(50):.1f} ms, p99 {alone.ms(99):.1f} ms",
    )
