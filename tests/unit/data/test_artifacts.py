"""Artifacts: made once, by one job at a time."""

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from data.artifacts import locate, materialise

HOLDER = """
import sys, time
from pathlib import Path
from data.artifacts import locate, materialise
def work(out):
    print("begun", flush=True)
    time.sleep(60)
materialise(locate(Path(sys.argv[1]), "embed", {}), work)
"""


def never(out: Path) -> Mapping[str, Any]:
    raise AssertionError("made twice")


def test_a_second_job_waits_for_the_first_and_keeps_what_it_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = locate(tmp_path, "embed", {})
    begun, finish = threading.Event(), threading.Event()

    def work(out: Path) -> Mapping[str, Any]:
        begun.set()
        assert finish.wait(10)
        return {"by": "the first"}

    first = threading.Thread(target=materialise, args=(artifact, work))
    first.start()
    assert begun.wait(10)
    with caplog.at_level("INFO", "catena"):
        second = threading.Thread(target=materialise, args=(artifact, never))
        second.start()
        while "another job is making it" not in caplog.text:
            time.sleep(0.01)
        assert not artifact.done
        finish.set()
        first.join()
        second.join()
    assert materialise(artifact, never).result["by"] == "the first"


def test_a_killed_job_holds_nothing_up(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"begun\n"
    holder.kill()
    holder.communicate()
    assert materialise(locate(tmp_path, "embed", {}), lambda out: {"rows": 1}).result["rows"] == 1
