"""Two jobs on one artifact: real processes, one of them killed."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data.artifacts import locate, materialise
from tests.results import AnyResult

REPOSITORY = Path(__file__).resolve().parents[2]
JOB = """
import logging, sys, time
from pathlib import Path
from data.artifacts import locate, materialise
from tests.results import AnyResult

logging.basicConfig(level=logging.INFO, format="%(message)s")
folder, name = Path(sys.argv[1]), sys.argv[2]

def work(out):
    with (out / "rows").open("a") as file:
        file.write(name + " begins\\n")
        file.flush()
        while name == "first" and not (folder / "go").exists():
            time.sleep(0.02)
        file.write(name + " ends\\n")
    return AnyResult(by=name)

print(materialise(locate(folder, "embed", {"model": "m"}), work).result["by"])
"""
Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a job by the name it signs its rows with; ends all of them after the test."""
    jobs: list[subprocess.Popen[str]] = []

    def started(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", JOB, str(tmp_path), name]
        pipe = subprocess.PIPE
        jobs.append(subprocess.Popen(command, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True))
        return jobs[-1]

    yield started
    for job in jobs:
        job.kill()
        job.communicate()


def wait_for_rows(folder: Path, rows: str) -> None:
    end = time.monotonic() + 60
    while not any(path.read_text() == rows for path in folder.glob("embed/*/rows")):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_the_second_waits_says_for_whom_and_keeps_what_the_first_made(start: Start, tmp_path: Path) -> None:
    first = start("first")
    wait_for_rows(tmp_path, "first begins\n")
    second = start("second")
    assert second.stderr is not None
    said = second.stderr.readline()
    assert f"embed: process {first.pid} on {os.uname().nodename} is working on it; waiting" in said
    (tmp_path / "go").touch()
    out, said = second.communicate(timeout=60)
    assert out == "first\n"
    assert "done before, kept" in said and "running" not in said
    wait_for_rows(tmp_path, "first begins\nfirst ends\n")


def test_a_killed_holder_frees_it_and_the_one_who_waits_does_the_work(start: Start, tmp_path: Path) -> None:
    first = start("first")
    wait_for_rows(tmp_path, "first begins\n")
    second = start("second")
    assert second.stderr is not None and "is working on it" in second.stderr.readline()
    first.send_signal(signal.SIGKILL)
    assert second.communicate(timeout=60)[0] == "second\n"
    wait_for_rows(tmp_path, "first begins\nsecond begins\nsecond ends\n")


def test_a_file_system_without_locks_is_told_and_the_work_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)  # such a file system cannot be mounted in a test
    with caplog.at_level(logging.WARNING, "catena"):
        made = materialise(locate(tmp_path, "embed", {}), lambda out: AnyResult(rows=1))
    assert made.done and made.result["rows"] == 1
    assert "without locks; start no second job on it" in caplog.text
