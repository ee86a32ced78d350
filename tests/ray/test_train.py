"""Training on Ray Train: what it leaves on disk and in MLflow, on one worker and on two."""

import json
import logging
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from data.graph.graph import load_graph
from data.progress import State, shown_by
from evaluation.links import both_directions, link_metrics, link_ranks
from tests.link_graph import write_graph
from training.config import OptimizerConfig, SpreadConfig, TrackingConfig
from training.frame import fit
from training.links.config import NodesConfig, ScorerConfig, TrainConfig
from training.links.driver import train_links
from training.links.scoring import LinkScorer
from training.links.stacking import SCORERS
from training.links.task import LinkTask, told_graph

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
SMALL = TrainConfig(
    model=NodesConfig(width=16, words=8),
    scorer=ScorerConfig(units=8, members=2, links=60, folds=1, shortlist=20, random=30, epochs=6),
    optimizer=OptimizerConfig(epochs=2, learning_rate=0.02),
    batch_links=64,
    ablation=True,
)


class Seen:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.states: list[State] = []

    def show(self, state: State) -> None:
        self.states.append(state)

    def close(self, state: State) -> None:
        assert state.done == state.total


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(tmp_path_factory.mktemp("corpus") / "graph")


def test_one_worker_leaves_models_figures_and_an_mlflow_run(
    graph: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "catena")
    out, store = tmp_path / "train", tmp_path / "mlflow.db"
    out.mkdir()
    display = Seen()
    with shown_by(display):
        result = train_links(graph, SMALL, "small", store, out)
    assert {state.what: (state.done, state.total) for state in display.states} == {
        "train": (2, 2),
        "train: models for the scorer": (1, 1),
    }
    logged = [record.message for record in caplog.records if record.message.startswith("train: epoch ")]
    assert [line.split(",")[0] for line in logged] == ["train: epoch 1", "train: epoch 2"] and "valid_mrr" in logged[1]
    weights = {"model", "model.scorer", "mlp.scorer", "no_states.scorer", "relations"}
    names = {f"{name}.safetensors" for name in weights} | {"model.json", "node_vectors.npy"}
    assert names <= {path.name for path in out.iterdir()} <= names | {"mlflow_run"}, "checkpoints stay behind"
    assert result["epochs"] == len(result["history"]) == 2 and result["best_epoch"] in (1, 2)
    assert result["parameters"] > 0

    torch.set_num_threads(1)  # as fast with matrices this small, and no quarrel over cores
    progress = fit(LinkTask(load_graph(graph), SMALL), SMALL.optimizer)
    assert [row["loss"] for row in result["history"]] == pytest.approx([r["loss"] for r in progress.history], rel=1e-3)

    opened, scorer = load_graph(graph), LinkScorer.load(out, graph)
    states = np.load(out / "node_vectors.npy")
    assert states.shape == (300, 16)
    np.testing.assert_allclose(states, scorer.node_vectors, atol=1e-6)
    pairs = both_directions(*opened.links("test"))
    found = {
        name: link_metrics(link_ranks(LinkScorer.load(out, graph, name).score, *pairs, opened.known_graph))["mrr"]
        for name in SCORERS
    }
    assert min(found.values()) > 0.1, "chance is about 0.02"
    for name, chosen in result["scorers"].items():
        assert chosen["valid_mrr"][chosen["chosen"]] == max(chosen["valid_mrr"].values()), name
    assert set(scorer.relations(*opened.links("test")).tolist()) <= {0, 1}

    client = mlflow.MlflowClient(f"sqlite:///{store}")
    run = client.get_run(result["mlflow_run"])
    assert run.info.run_name == "small" and run.info.status == "FINISHED"
    assert run.data.params["model.width"] == "16" and run.data.params["optimizer.epochs"] == "2"
    assert run.data.metrics["best_valid_mrr"] == pytest.approx(result["valid_mrr"])
    curve = [metric.value for metric in client.get_metric_history(run.info.run_id, "loss")]
    assert curve == [row["loss"] for row in result["history"]]
    kept = {file.path for file in client.list_artifacts(run.info.run_id, "model")}
    assert kept == {f"model/{name}.safetensors" for name in weights}


def test_two_workers_train_one_model_and_a_store_that_fails_does_not_lose_it(
    graph: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracking = TrackingConfig(uri="nosuch://store")
    scorer = SMALL.scorer.model_copy(update={"folds": 0})
    config = SMALL.model_copy(update={"spread": SpreadConfig(workers=2), "tracking": tracking, "scorer": scorer})
    result = train_links(graph, config, "two", tmp_path / "mlflow.db", tmp_path)
    assert result["mlflow_run"] == "" and "the training in MLflow" in caplog.text
    assert result["epochs"] == 2 and result["history"][1]["loss"] < result["history"][0]["loss"]
    opened = load_graph(graph)
    states = LinkScorer.load(tmp_path, graph).node_vectors
    pairs = both_directions(*opened.links("valid"))
    figure = link_metrics(link_ranks(lambda s: states[s] @ states.T, *pairs, told_graph(opened)))["mrr"]
    assert figure == pytest.approx(result["valid_mrr"], rel=1e-4)
    assert figure > 0.1, "two workers learned nothing"
    figures = json.loads((tmp_path / "model.json").read_text())
    assert figures["history"] == result["history"]
