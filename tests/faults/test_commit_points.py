"""kill -9 at each commit point of chunking and embedding: started again, the job ends with the same bytes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
KILLED_JOBS = Path(__file__).with_name("killed_jobs.py")
POINTS = [line.strip()[1:-2] for line in KILLED_JOBS.read_text().splitlines() if line.startswith('    "')]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of the job at each point."""
    command = [sys.executable, str(KILLED_JOBS), str(tmp_path_factory.mktemp("jobs"))]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_points_are_those_that_were_tried(told: dict[str, Any]) -> None:
    assert {"undisturbed", *POINTS} == set(told) and len(POINTS) == 11
    assert told["undisturbed"]["ended"] == [0]
    assert sum("vectors/part-" in name for name in told["undisturbed"]["files"]) == 4


@pytest.mark.parametrize("point", POINTS)
def test_a_job_killed_there_ends_with_the_same_bytes_when_started_again(told: dict[str, Any], point: str) -> None:
    assert told[point]["ended"] == [-signal.SIGKILL, 0]
    assert told[point]["files"] == told["undisturbed"]["files"]
    before, kept = told[point]["kept"]
    assert kept == before, "a partition that was whole was made again"
    assert before == {"embed/part": 1, "embed/_SUC": 4, "embed/mani": 4, "embed/resu": 4}.get(
        point.partition(" ")[2][:10], 0
    ) + (point == "after embed/part-00001.parquet")
