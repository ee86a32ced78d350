"""Two workers that each hold half of a model: one is killed in mid-epoch, and at last a loss is no number."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from data.errors import InputError
from tests.faults.killed_workers import killed_worker
from tests.point_task import PointTask
from tests.point_training import BothShares, train_points
from training.checkpoint import read_progress
from training.config import OptimizerConfig, SpreadConfig
from training.frame import fit
from training.workers import CHECKPOINTS, run_workers

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
CONFIG = OptimizerConfig(learning_rate=0.02, epochs=5, patience=5, schedule="constant", warmup_fraction=0)
SPREAD = SpreadConfig(workers=2, strategy="fsdp", checkpoint_every=0.25)


def test_a_killed_worker_costs_one_interval_and_a_loss_that_is_no_number_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # how often it notes checkpoints: two seconds else
    rows: list[dict[str, float]] = []
    settings = {"out": str(tmp_path), "spread": SPREAD.model_dump(), "optimizer": CONFIG.model_dump(), "broken": 4}
    with killed_worker(tmp_path) as kept, pytest.raises(InputError, match="in epoch 5, step 1, the loss is nan"):
        run_workers(train_points, settings, tmp_path, SPREAD, 5, lambda row: rows.append(dict(row)))
    assert len(kept) < 4, "the worker was killed too late"
    assert (tmp_path / "bad_batch_0.pt").exists()
    for rank in (0, 1):
        # A quarter of 8 steps between checkpoints; what came after the last of them, and one step under way, is lost.
        steps = Counter((tmp_path / f"steps-{rank}").read_text().split())
        assert 32 <= sum(steps[str(epoch)] for epoch in range(4)) <= 32 + 4 and steps["4"] == 2, steps

    # The last checkpoint is of the last good epoch, and holds what an undisturbed training has.
    (folder,) = (tmp_path / CHECKPOINTS).glob("epoch_*")
    assert read_progress(folder)["history"] == rows and [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[: len(kept)] == kept
    four = CONFIG.model_copy(update={"epochs": 4, "accumulate": 2})
    resumed, undisturbed = PointTask(seed=5), BothShares(tmp_path)
    fit(resumed, four, resume=folder)
    fit(undisturbed, four)
    for name, tensor in resumed.model.state_dict().items():
        torch.testing.assert_close(tensor, undisturbed.model.state_dict()[name], rtol=1e-3, atol=1e-4)
