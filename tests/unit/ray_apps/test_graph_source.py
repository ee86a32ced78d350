"""A run on a graph without text: what it has of stages, and the graph that it makes; no cluster is needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.artifacts import materialise
from data.errors import StageAbsent
from data.graph.graph import load_graph
from data.sources.ingest import ingest
from data.spread import here
from ray_apps.config import RunConfig
from ray_apps.ingest import IngestResult
from ray_apps.plan import Plan
from ray_apps.run import dry_run


def plan_of(tmp_path: Path, edges: np.ndarray, nodes: int, features: np.ndarray | None = None) -> Plan:
    """A run whose source has been read, in this process."""
    graph: dict[str, Any] = {"links": [str(tmp_path / "g.npz")]}
    np.savez(tmp_path / "g.npz", edges=edges, num_nodes=nodes)
    if features is not None:
        np.save(tmp_path / "f.npy", features)
        graph["features"] = str(tmp_path / "f.npy")
    run = RunConfig.model_validate({"name": "bare", "workspace": tmp_path / "workspace", "source": {"graph": graph}})
    plan = Plan(run)
    materialise(plan.artifact("ingest"), lambda out: IngestResult.model_validate(ingest(run.source, out, here)))
    return Plan(run)


def ring(nodes: int) -> np.ndarray:
    return np.column_stack([np.arange(nodes), (np.arange(nodes) + 1) % nodes])


@pytest.mark.parametrize("stage", ["chunk", "embed", "index", "stats"])
def test_texts_are_absent_with_a_reason(tmp_path: Path, stage: str) -> None:
    plan = plan_of(tmp_path, ring(40), 40)
    with pytest.raises(StageAbsent, match="a graph without text"):
        plan.bring(stage)
    names = plan.names()
    assert not {"chunk", "embed", "index", "evaluate_search"} & set(names)
    assert {"ingest", "split", "graph", "train", "evaluate_links", "discover"} <= set(names)
    assert set(dry_run(plan)["artifacts"]) == set(names)


def test_features_stand_in_for_vectors_of_texts(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(40, 7))
    made = plan_of(tmp_path, ring(40), 40, features).bring("graph")
    graph = load_graph(made.path)
    np.testing.assert_allclose(graph.vectors, features / np.linalg.norm(features, axis=1, keepdims=True), rtol=1e-5)
    assert graph.ids == graph.titles == [str(n) for n in range(40)]
    assert graph.words is not None and graph.words.nnz == 0
    assert made.result["nodes"] == made.result["links"] == 40


def test_without_features_vectors_have_no_dimensions(tmp_path: Path) -> None:
    graph = load_graph(plan_of(tmp_path, ring(40), 41).bring("graph").path)
    assert graph.vectors.shape == (41, 0)
    assert graph.known_graph.degrees[40] == 0


@pytest.mark.parametrize(
    ("edges", "nodes"), [(np.zeros((0, 2), int), 1), (np.zeros((3, 2), int), 1), (np.array([[2, 2], [1, 1]]), 3)]
)
def test_a_graph_without_links_says_so(tmp_path: Path, edges: np.ndarray, nodes: int) -> None:
    with pytest.raises(StageAbsent, match="has no links"):
        plan_of(tmp_path, edges, nodes).bring("graph")
