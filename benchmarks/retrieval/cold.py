"""`catena search` in a new process."""

import statistics
import subprocess
import sys
import time

from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS
from ray_apps.config import load_run
from ray_apps.plan import Plan

RUN = "cranfield"
TIMES = 5


def measure() -> list[Row]:
    """Seconds from the command to its answer on a finished run: median of five."""
    file = RUNS / f"{RUN}.yaml"
    Plan(load_run(file)).bring("index")
    command = [sys.executable, "-m", "ray_apps.search", str(file), "boundary layer", "--top-k", "3"]
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=RUNS.parent)
        seconds.append(time.perf_counter() - started)
    return [
        Row(
            id="retrieval.search_cold_s",
            what=f"`catena search` on the finished run {RUN}, cold: a new process loads encoder and index",
            value=round(statistics.median(seconds), 2),
            unit="s",
            at_most=6.0,
        )
    ]
