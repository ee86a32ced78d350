"""Baselines against networkx, which computes them pair by pair, and on a real citation graph."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from data.graph.graph import Graph, GraphConfig
from data.graph.split import split_links
from evaluation.baselines import adamic_adar, common_neighbours, cosine, resource_allocation
from evaluation.links import evaluate_links, unordered_pairs


@pytest.fixture(scope="module")
def graph() -> Graph:
    rng = np.random.default_rng(0)
    sources, targets = rng.integers(0, 50, (2, 160))
    return Graph.from_pairs(sources, targets, 55)  # the last five stay isolated


def test_structure_scores_equal_networkx(graph: Graph) -> None:
    theirs = nx.from_scipy_sparse_array(graph.adjacency)
    pairs = [(u, v) for u in range(55) for v in range(55) if u != v]
    for ours, function in (
        (adamic_adar(graph), nx.adamic_adar_index),
        (resource_allocation(graph), nx.resource_allocation_index),
        (common_neighbours(graph), nx.common_neighbor_centrality),
    ):
        scores = ours(np.arange(55))
        assert scores.dtype == np.float32
        assert scores.shape == (55, 55)
        kwargs = {"alpha": 1.0} if function is nx.common_neighbor_centrality else {}  # alpha 1 leaves the count alone
        open_pairs = [pair for pair in pairs if not theirs.has_edge(*pair)]
        for u, v, wanted in function(theirs, open_pairs, **kwargs):
            assert scores[u, v] == pytest.approx(wanted, abs=1e-5), (function.__name__, u, v)


def test_a_subset_of_sources_gives_the_same_rows(graph: Graph) -> None:
    score = adamic_adar(graph)
    np.testing.assert_allclose(score(np.array([7, 3])), score(np.arange(55))[[7, 3]])


def test_cosine_is_the_product_of_unit_vectors() -> None:
    vectors = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = cosine(vectors)(np.array([2, 5]))
    assert scores[0, 2] == pytest.approx(1.0, abs=1e-6)
    assert scores[1, 0] == pytest.approx(float(vectors[5] @ vectors[0]), abs=1e-6)


def test_baselines_on_cora_beat_chance_by_far(data_root: Path) -> None:
    with np.load(data_root / "planetoid" / "cora.npz") as file:
        bags = sparse.csr_array((file["x_data"], file["x_indices"], file["x_indptr"]), shape=tuple(file["x_shape"]))
        sources, targets = unordered_pairs(*file["edges"].T.astype(np.int64))
    words = bags.toarray()
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-12)
    known = Graph.from_pairs(sources, targets, len(words))
    split = split_links(sources, targets, GraphConfig())
    train = Graph.from_pairs(sources[split == 0], targets[split == 0], len(words))
    table, _ = evaluate_links(
        {"cosine": cosine(words), "adamic_adar": adamic_adar(train), "common_neighbours": common_neighbours(train)},
        sources[split == 2],
        targets[split == 2],
        known,
        resamples=200,
    )
    chance = 0.003  # the mean of 1/rank over 2,707 ranks
    assert min(row["mrr"] for row in table.values()) > 20 * chance
    assert table["adamic_adar"]["mrr"] > table["common_neighbours"]["mrr"]
