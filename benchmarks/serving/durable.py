"""Feedback that is on disk before it is acknowledged: events a second of one replica."""

import json
import statistics
import sys
import uuid

from benchmarks.rows import Row
from benchmarks.serving.load import closed_loop, free_port, request
from benchmarks.serving.search import RUN, described, leave_ray
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan

SECONDS, REPEATS, CONNECTIONS = 5.0, 3, 32


def measure() -> list[Row]:
    """One event a request, and twenty."""
    Plan(load_run(RUN)).bring("index")
    leave_ray()
    port = free_port()
    command = [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(port)]
    rows = []
    with running(command, port, _events(1)):
        for events, least in ((1, None), (20, 2000.0)):
            asked = [_events(events) for _ in range(4000 // events)]
            turns = [closed_loop(port, CONNECTIONS, asked, SECONDS) for _ in range(REPEATS)]
            rows.append(
                Row(
                    id=f"serve.feedback_{events}",
                    what=f"feedback events a second, on disk before they are acknowledged, {events} a request, "
                    f"{CONNECTIONS} connections, one replica",
                    value=round(events * statistics.median(turn.rate for turn in turns)),
                    unit="events/s",
                    at_least=least,
                    peer=described(turns),
                )
            )
    return rows


def _events(count: int) -> bytes:
    events = [{"request_id": uuid.uuid4().hex, "item": f"doc {n}", "action": "clicked"} for n in range(count)]
    return request("/v1/feedback", json.dumps({"events": events}).encode())
