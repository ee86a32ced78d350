"""kill -9 at commit points of steps, chunk, embed and reduce: started again, the job ends with the same bytes."""

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
KEPT = {  # partitions of vectors that are whole when the job is killed there
    "before steps/part-00001.parquet": 0,
    "after steps/_SUCCESS": 0,
    "before chunk/part-00001.parquet": 0,
    "after chunk/part-00001.parquet": 0,
    "before chunk/_SUCCESS": 0,
    "before embed/encoder.json": 0,
    "after embed/encoder.json": 0,
    "before embed/copied_from.json": 0,
    "after embed/copied_from.json": 0,
    "in embed/part-00001.parquet": 1,
    "before embed/part-00001.parquet": 1,
    "after embed/part-00001.parquet": 2,
    "before embed/head.npy": 4,  # the index of hashes
    "after embed/head.npy": 4,
    "in embed/tail.npy": 4,
    "after embed/place.npy": 4,
    "before embed/manifest.json": 4,
    "after embed/manifest.json": 4,
    "in embed/result.json": 4,
    "before embed/_SUCCESS": 4,
    "after embed/_SUCCESS": 4,
    "before reduce/projection.safetensors": 4,
    "in reduce/part-00000.parquet": 4,
    "before reduce/part-00001.parquet": 4,
    "after reduce/manifest.json": 4,
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of the job at each point."""
    command = [sys.executable, str(KILLED_JOBS), str(tmp_path_factory.mktemp("jobs")), *KEPT]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_undisturbed_job_has_everything(jobs: dict[str, Any]) -> None:
    assert jobs["undisturbed"]["ended"] == [0]
    files = jobs["undisturbed"]["files"]
    counted = {name: sum(f"{name}/part-" in file for file in files) for name in ("documents", "passages", "vectors")}
    assert counted == {"documents": 2, "passages": 4, "vectors": 8}
    assert sum(name.endswith(("manifest.json", "_SUCCESS")) for name in files) == 6
    assert sum(name.endswith((".npy", "copied_from.json")) for name in files) == 4


@pytest.mark.parametrize("point", KEPT)
def test_a_job_killed_there_ends_with_the_same_bytes_when_started_again(jobs: dict[str, Any], point: str) -> None:
    assert jobs[point]["ended"] == [-signal.SIGKILL, 0]
    assert jobs[point]["files"] == jobs["undisturbed"]["files"]
    before, kept = jobs[point]["kept"]
    assert (before, kept) == (KEPT[point], KEPT[point])
