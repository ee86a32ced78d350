"""Two processes that train together: what each is to find is in ``tests.two_workers``."""

import subprocess
import sys
from pathlib import Path

import torch

from tests.point_task import PointTask
from tests.two_workers import CHECKS, CONFIG
from training.frame import fit

REPOSITORY = Path(__file__).resolve().parents[3]


def test_two_workers_train_one_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.two_workers", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": REPOSITORY}
    workers = [subprocess.Popen([*command, str(rank)], **pipes) for rank in (0, 1)]  # type: ignore[call-overload]
    try:
        said = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for output in said:
        assert [line for line in output.splitlines() if line] == [check.__name__ for check in CHECKS], output

    # What two workers saved, one resumes: replicas and shards alike.
    for name in ("replicas", "shards"):
        task = PointTask(seed=6)
        progress = fit(task, CONFIG, resume=tmp_path / name / "2-0")
        assert progress.epoch == 3 and progress.world == 1
        assert torch.isfinite(task.model.table).all()
