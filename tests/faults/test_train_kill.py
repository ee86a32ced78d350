"""kill -9 of a training worker: the training goes on from the last epoch and ends where an undisturbed one does."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import torch

from data.graph.graph import GraphConfig, load_graph
from data.graph.split import split_links
from evaluation.links import both_directions, link_metrics, link_ranks
from tests.faults.killed_workers import killed_worker
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


def write_graph(folder: Path) -> Path:
    """300 documents in 25 circles of links, as the graph stage writes them."""
    rng = np.random.default_rng(0)
    circle = np.repeat(np.arange(25), 12)
    u, v = np.triu_indices(300, 1)
    linked = rng.random(len(u)) < np.where(circle[u] == circle[v], 0.4, 0.001)
    u, v = u[linked], v[linked]
    vectors = (rng.normal(size=(25, 8))[circle] + rng.normal(size=(300, 8))).astype(np.float32)
    folder.mkdir()
    np.save(folder / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    sp.save_npz(folder / "words.npz", sp.random(300, 50, 0.1, "csr", np.float32, 0))
    ids = [f"d{number}" for number in range(300)]
    pq.write_table(pa.table({"id": ids, "title": ids}), folder / "nodes.parquet")
    columns = {
        "source": u,
        "target": v,
        "relation": ["cites"] * len(u),
        "weight": np.ones(len(u), np.float32),
        "split": split_links(u, v, GraphConfig()),
    }
    pq.write_table(pa.table(columns), folder / "links.parquet")
    return folder


def test_a_killed_worker_is_replaced_and_training_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # how often it notes checkpoints: two seconds else
    graph, out = write_graph(tmp_path / "graph"), tmp_path / "train"
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
