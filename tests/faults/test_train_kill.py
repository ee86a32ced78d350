"""kill -9 of a training worker: the training goes on from the last epoch and ends where an undisturbed one does."""

from pathlib import Path

import pytest
import torch

from data.graph.graph import load_graph
from evaluation.links import both_directions, link_metrics, link_ranks
from tests.faults.killed_workers import killed_worker
from tests.link_graph import write_graph
from training.config import OptimizerConfig
from training.frame import fit
from training.links.config import NodesConfig, ScorerConfig, TrainConfig
from training.links.driver import train_links
from training.links.scoring import LinkScorer
from training.links.task import LinkTask

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
CONFIG = TrainConfig(
    model=NodesConfig(width=16, words=8),
    scorer=ScorerConfig(units=0, folds=0, shortlist=20, random=30, epochs=2),
    optimizer=OptimizerConfig(epochs=10, patience=10),
    batch_links=32,
)


def test_a_killed_worker_is_replaced_and_training_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # how often it notes checkpoints: two seconds else
    graph, out = write_graph(tmp_path / "graph"), tmp_path / "train"
    out.mkdir()
    with killed_worker(out) as kept:
        result = train_links(graph, CONFIG, "killed", tmp_path / "mlflow.db", out)
    assert len(kept) < CONFIG.optimizer.epochs, "the worker was killed too late"
    # Rows carry the seconds they took: equal rows were not trained a second time.
    assert result["history"][: len(kept)] == kept

    opened = load_graph(graph)
    torch.set_num_threads(1)  # as fast with matrices this small, and no quarrel over cores
    undisturbed = fit(LinkTask(opened, CONFIG), CONFIG.optimizer)
    assert result["epochs"] == len(result["history"]) == undisturbed.epoch == CONFIG.optimizer.epochs
    for key in ("loss", "valid_mrr"):
        expected = [row[key] for row in undisturbed.history]
        assert [row[key] for row in result["history"]] == pytest.approx(expected, rel=0.01)
    assert result["valid_mrr"] == pytest.approx(undisturbed.best_score, rel=0.01)
    states = LinkScorer.load(out, graph).node_vectors
    ranks = link_ranks(lambda s: states[s] @ states.T, *both_directions(*opened.links("valid")), opened.known_graph)
    assert link_metrics(ranks)["mrr"] == pytest.approx(result["valid_mrr"], rel=1e-4)
