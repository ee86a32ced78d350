"""A hundred thousand requests: how much memory the processes of the service have grown by."""

import json
import sys
from itertools import chain

from benchmarks.embed.texts import sample
from benchmarks.rows import Row
from benchmarks.serving.load import closed_loop, free_port, request
from benchmarks.serving.overload import memory
from benchmarks.serving.search import RUN, leave_ray, questions
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan

FIRST, ALL, CONNECTIONS = 10_000, 100_000, 16
STRETCH_S = 10.0


def measure(first: int = FIRST, every: int = ALL) -> list[Row]:
    """Searches, most of them new, and texts to embed, in turn; five to ten minutes.

    Args:
        first: requests after which growth is counted.
        every: requests in all.
    """
    Plan(load_run(RUN)).bring("index")
    leave_ray()
    _, texts = sample(2048)
    embed = [request("/v1/embeddings", json.dumps({"input": text[:120]}).encode()) for text in texts]
    asked, port, done, before = questions(), free_port(), 0, 0
    command = [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(port)]
    with running(command, port, embed[0]) as process:
        start = memory(process.pid)
        while done < every:
            place = done % len(asked)
            mixed = list(chain.from_iterable(zip(asked[place:] + asked[:place], embed * 100, strict=False)))
            done += len(closed_loop(port, CONNECTIONS, mixed, STRETCH_S).seconds)
            if not before and done >= first:
                before = memory(process.pid)
        after = memory(process.pid)
    return [
        Row(
            id="serve.soak_growth",
            what=f"memory of all processes of the service after {done:,} requests over that after {first:,}, less one",
            value=round(after / before - 1, 4),
            unit="share",
            at_most=0.05,
            peer=f"{start / 2**20:.0f} MiB at first, {before / 2**20:.0f} MiB, {after / 2**20:.0f} MiB at the end; "
            f"{CONNECTIONS} connections, searches and texts in turn",
        )
    ]
