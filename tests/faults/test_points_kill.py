"""Two workers that each hold half of a model: one is killed in mid-epoch; and a loss that is no number."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data.errors import InputError
from tests.faults.killed_workers import killed_worker
from tests.point_training import BothShares, train_points
from training.config import OptimizerConfig, SpreadConfig
from training.frame import fit
from training.workers import run_workers

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
CONFIG = OptimizerConfig(learning_rate=0.02, epochs=4, patience=4)


def start(out: Path, spread: SpreadConfig, broken: bool = False) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    settings: dict[str, Any] = {"out": str(out), "spread": spread.model_dump(), "optimizer": CONFIG.model_dump()}
    run_workers(
        train_points, settings | {"broken": broken}, out, spread, CONFIG.epochs, lambda row: rows.append(dict(row))
    )
    return rows


def test_a_killed_worker_costs_at_most_one_checkpoint_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # how often it notes checkpoints: two seconds else
    with killed_worker(tmp_path) as kept:
        rows = start(tmp_path, SpreadConfig(workers=2, strategy="fsdp", checkpoint_every=0.25))
    assert len(kept) < CONFIG.epochs, "the worker was killed too late"
    history = json.loads((tmp_path / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3, 4] and rows == history and history[: len(kept)] == kept
    for rank in (0, 1):
        # A quarter of 8 steps between checkpoints; what came after the last of them, and one step under way, is lost.
        steps = Counter((tmp_path / f"steps-{rank}").read_text().split())
        assert 32 <= sum(steps.values()) <= 32 + 4, steps

    undisturbed = BothShares(tmp_path)
    fit(undisturbed, CONFIG.model_copy(update={"accumulate": 2}))
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        torch.testing.assert_close(tensor, undisturbed.model.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_no_number_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in epoch 2, step 1, the loss is nan"):
        start(tmp_path, SpreadConfig(), broken=True)
    assert len((tmp_path / "steps-0").read_text().split()) == 8 + 2
    assert (tmp_path / "bad_batch_0.pt").exists() and not (tmp_path / "model.safetensors").exists()
