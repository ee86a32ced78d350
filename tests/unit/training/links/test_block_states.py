"""States computed block by block are those computed at once, whatever lies in a file and whatever in memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data.graph.graph import Graph, GraphArtifact
from training.links import states
from training.links.config import NodesConfig
from training.links.inputs import LinkTensors, relation_of_entries
from training.links.nodes import LinkModel, Shape, all_states, inputs_of
from training.links.states import block_states, states_over

ENCODERS = ("linear", "gatv2", "sage", "rgcn", "none")


@pytest.fixture(scope="module")
def worded(planted: GraphArtifact) -> GraphArtifact:
    return replace(planted, words=sp.random(300, 40, 0.2, "csr", np.float32, 3))


def model_of(graph: GraphArtifact, encoder: str) -> LinkModel:
    config = NodesConfig.model_validate({"encoder": encoder, "width": 8, "table": True, "word_table": True, "words": 0})
    torch.manual_seed(0)
    text = graph.vectors.shape[1]
    # Of the last documents the model knows nothing but text and links.
    shape = Shape(nodes=280, text=text, words=0, terms=40, relations=tuple(graph.relation_names), config=config)
    return LinkModel(shape).eval()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("rows", [64, 1000])
def test_blocks_are_the_whole(worded: GraphArtifact, tmp_path: Path, encoder: str, rows: int) -> None:
    model, graph = model_of(worded, encoder), worded.training_graph
    relation = relation_of_entries(worded, graph)
    whole = all_states(model, inputs_of(model, worded.vectors, worded.words), LinkTensors(graph, relation_E=relation))
    found = block_states(model, worded.vectors, worded.words, graph, relation, tmp_path / "s.npy", rows)
    np.testing.assert_allclose(found, whole.numpy(), atol=1e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), found)
    assert [path.name for path in tmp_path.iterdir()] == ["s.npy"], "what was temporary is gone"


def test_a_graph_without_links(worded: GraphArtifact) -> None:
    empty = Graph.from_pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), 300)
    for encoder in ("linear", "sage"):
        model = model_of(worded, encoder)
        whole = all_states(model, inputs_of(model, worded.vectors, worded.words), LinkTensors(empty))
        found = block_states(model, worded.vectors, worded.words, empty, rows=128)
        np.testing.assert_allclose(found, whole.numpy(), atol=1e-5)


def test_many_documents_go_by_blocks(worded: GraphArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, graph = model_of(worded, "linear"), worded.training_graph
    at_once = states_over(model, worded, graph, tmp_path / "once.npy")
    monkeypatch.setattr(states, "WHOLE", 0)
    monkeypatch.setattr(states, "all_states", None)
    by_blocks = states_over(model, worded, graph, tmp_path / "blocks.npy")
    np.testing.assert_allclose(by_blocks, at_once, atol=1e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "once.npy"), at_once)
