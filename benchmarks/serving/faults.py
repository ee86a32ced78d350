"""What callers notice while a replica is killed, an index is killed, and another index is taken up, under load."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil

from benchmarks.rows import Row
from benchmarks.serving.load import closed_loop, free_port, open_loop
from benchmarks.serving.search import RUN, leave_ray, questions
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan

SECONDS, DISTURBED_AFTER_S, SHARE = 40.0, 8.0, 0.4
OTHER = ("--chunk.max-chars", "900")  # a release of the same corpus
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "replica": ("the only replica is killed", ()),
    "index": ("the process of the index is killed, layout spread", ("--serve.layout", "spread")),
    "release": ("another index is promoted, then rolled back", ()),
}


def measure() -> list[Row]:
    """Failed searches at 40% of the capacity, by what happens eight seconds after the beginning."""
    variants: tuple[tuple[str, ...], ...] = ((), OTHER)
    for flags in variants:
        plan = Plan(load_run(RUN, list(flags)))
        plan.bring("index")
        plan.bring("lookup")
    leave_ray()
    rows = []
    for id_, (what, flags) in CASES.items():
        port = free_port()
        command = [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(port), *flags]
        asked = questions()
        with running(command, port, asked[0]) as process:
            rate = SHARE * closed_loop(port, 8, asked, 5.0).rate
            disturbed = threading.Timer(DISTURBED_AFTER_S, _disturbance(id_, process.pid))
            disturbed.start()
            seen = open_loop(port, rate, asked[2000:], SECONDS, retries=1)
            disturbed.join()
        failed = sum(count for status, count in seen.statuses.items() if status != 200)
        rows.append(
            Row(
                id=f"serve.failed_{id_}",
                what=f"searches that failed after one retry while {what}, {rate:.0f} a second",
                value=failed,
                unit="requests",
                at_most=0.0,
                peer=f"{len(seen.seconds):,} answered, {seen.retried} asked twice, the slowest after "
                f"{max(seen.seconds):.1f} s; {dict(seen.statuses)}",
            )
        )
    return rows


def _disturbance(id_: str, pid: int) -> Callable[[], None]:
    if id_ == "release":
        return _promote_and_roll_back
    part = "Ingress" if id_ == "replica" else "IndexActor"
    return lambda: _kill(pid, part)


def _kill(pid: int, part: str) -> None:
    for process in psutil.Process(pid).children(recursive=True):
        if "ServeReplica" in (title := " ".join(process.cmdline())) and part in title:
            process.send_signal(signal.SIGKILL)
            return
    raise RuntimeError(f"there is no replica of {part}")


def _promote_and_roll_back() -> None:
    steps: tuple[tuple[str, tuple[str, ...]], ...] = (("promote", OTHER), ("rollback", ()))
    for command, flags in steps:
        words = [sys.executable, "-m", "ray_apps.deploy", command, str(RUN), *flags]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(8.0)
