"""The process that trains links is killed, and started again."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from benchmarks.link_kill import History, noted_history
from data.graph.graph import load_graph
from tests.link_graph import write_graph
from tests.link_training import SAMPLED, train
from training.frame import fit
from training.links.task import LinkTask

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def test_a_killed_driver_goes_on_from_the_last_checkpoint_and_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # how often it notes checkpoints: two seconds else
    graph, out = write_graph(tmp_path / "graph"), tmp_path / "train"
    out.mkdir()
    address = ray.get_runtime_context().gcs_address
    killed = subprocess.Popen([sys.executable, "-m", "tests.link_training", str(graph), str(out), address])
    kept: History = []
    end = time.monotonic() + 60
    while len(kept) < 2 and time.monotonic() < end:
        assert killed.poll() is None, "the training ended before it could be killed"
        kept = noted_history(out)
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert 2 <= len(kept) < SAMPLED.optimizer.epochs

    result = train(graph, out)
    # Seconds and all: what was done before is not done again.
    assert result["history"][: len(kept)] == kept and result["epochs"] == len(result["history"])
    torch.set_num_threads(1)  # as fast with matrices this small, and no quarrel over cores
    undisturbed = LinkTask(load_graph(graph), SAMPLED)
    assert undisturbed.sampled
    progress = fit(undisturbed, SAMPLED.optimizer)
    for figure in ("loss", "valid_mrr"):
        expected = [row[figure] for row in progress.history]
        assert [row[figure] for row in result["history"]] == pytest.approx(expected, rel=2e-3)
    assert result["best_epoch"] == progress.best_epoch
    np.testing.assert_allclose(np.load(out / "node_vectors.npy"), undisturbed.states(), atol=1e-2)
