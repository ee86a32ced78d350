"""Kills the process that trains on Ray Train once it has left a checkpoint."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

WORKER = "RayTrainWorker"  # in the title that Ray gives the worker's process

History = list[dict[str, Any]]


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
        kept.extend(last_state(out))
        time.sleep(0.02)
    for process in psutil.Process(os.getpid()).children(recursive=True):
        if WORKER in " ".join(process.cmdline()):
            process.kill()
            killed.append(process.pid)
            return


def last_state(out: Path) -> History:
    """History in the newest checkpoint that Ray Train has noted; empty where there is none, or it is being replaced."""
    try:
        noted = json.loads((out / "checkpoints/checkpoint_manager_snapshot.json").read_text())
        folder = (noted["latest_checkpoint_result"] or {"checkpoint_dir_name": "none"})["checkpoint_dir_name"]
        progress = json.loads((out / "checkpoints" / folder / "progress.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    history: History = progress["history"]
    return history
