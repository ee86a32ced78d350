"""Kills the process that trains on Ray Train once it has left a checkpoint."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.link_kill import WORKER, History, noted_history


@contextmanager
def killed_worker(out: Path) -> Iterator[History]:
    """Train within it: one worker is killed after an epoch's checkpoint; the list gets the history in that one.

    Args:
        out: the training's folder.
    """
    kept: History = []
    killed: list[int] = []
    killer = threading.Thread(target=_kill, args=(out, kept, killed))
    killer.start()
    yield kept
    killer.join()
    assert len(killed) == 1, "no worker was killed, or more than one"
    assert kept, "the worker was killed before its first checkpoint"


def _kill(out: Path, kept: History, killed: list[int]) -> None:
    end = time.monotonic() + 120
    while not kept and time.monotonic() < end:
        kept.extend(noted_history(out))
        time.sleep(0.02)
    for process in psutil.Process(os.getpid()).children(recursive=True):
        if WORKER in " ".join(process.cmdline()):
            process.kill()
            killed.append(process.pid)
            return
