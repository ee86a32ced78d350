"""Pair features against networkx and plain loops."""

import math

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from data.graph.graph import Graph
from training.links.features import FEATURES, PairFeatures

WORDS = sp.random_array((30, 50), density=0.2, rng=np.random.default_rng(9), dtype=np.float32, format="csr")


def made(num_nodes: int, probability: float, seed: int) -> tuple[nx.Graph, Graph, np.ndarray]:
    known = nx.gnp_random_graph(num_nodes, probability, seed=seed)
    pairs = np.array(list(known.edges), np.int64).reshape(-1, 2)
    vectors = np.random.default_rng(seed).normal(size=(num_nodes, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return known, Graph.from_pairs(pairs[:, 0], pairs[:, 1], num_nodes), vectors


def naive(known: nx.Graph, vectors: np.ndarray, u: int, v: int) -> dict[str, float]:
    """By the definitions."""
    degree = dict(known.degree)
    shared = list(nx.common_neighbors(known, u, v))
    three = sum(
        1 / math.sqrt(degree[a] * degree[b])
        for a in known[u]
        for b in known[a]
        if known.has_edge(b, v) and len({u, a, b, v}) == 4
    )

    def near(a: int, b: int) -> float:
        return math.sqrt(max(float(vectors[a] @ vectors[b]), 0.01))

    def strength(a: int) -> float:
        return sum(near(a, b) for b in known[a])

    return {
        "similar_paths": math.log1p(sum(near(u, w) * near(w, v) / math.sqrt(strength(w)) for w in shared)),
        "common_neighbours": math.log1p(len(shared)),
        "adamic_adar": math.log1p(sum(1 / math.log(degree[w]) for w in shared)),
        "resource_allocation": math.log1p(sum(1 / degree[w] for w in shared)),
        "three_paths": math.log1p(three),
        "cosine": float(vectors[u] @ vectors[v]),
        "source_degree": math.log1p(degree[u]),
        "target_degree": math.log1p(degree[v]),
        "shared_words": float((WORDS[u] @ WORDS[v].T).sum()),
    }


GRAPHS = [(12, 0.4, 0), (25, 0.15, 1), (25, 0.04, 2), (6, 1, 3)]


@pytest.mark.parametrize(("num_nodes", "probability", "seed"), GRAPHS)
def test_every_feature_of_an_unlinked_pair(num_nodes: int, probability: float, seed: int) -> None:
    known, graph, vectors = made(num_nodes, probability, seed)
    rows = PairFeatures(graph, vectors, WORDS[:num_nodes]).rows(np.arange(num_nodes))
    assert rows.shape == (len(FEATURES), num_nodes, num_nodes) and rows.dtype == np.float32
    for u, v in nx.non_edges(known):
        found = dict(zip(FEATURES, rows[:, u, v].tolist(), strict=True))
        assert found == pytest.approx(naive(known, vectors, u, v), abs=2e-5), (u, v)


@pytest.mark.parametrize(("num_nodes", "probability", "seed"), GRAPHS)
def test_a_left_out_link_leaves_no_trace_in_its_row(num_nodes: int, probability: float, seed: int) -> None:
    """Neither in its own pair nor in those it is compared with."""
    known, graph, vectors = made(num_nodes, probability, seed)
    features = PairFeatures(graph, vectors, WORDS[:num_nodes])
    for u, v in [pair for edge in known.edges for pair in (edge, edge[::-1])]:
        row = features.rows(np.array([u]), without=np.array([v]))[:, 0]
        rest = known.copy()
        rest.remove_edge(u, v)
        for other in nx.non_neighbors(rest, u):
            found = dict(zip(FEATURES, row[:, other].tolist(), strict=True))
            assert found == pytest.approx(naive(rest, vectors, u, other), abs=2e-5), (u, v, other)


def test_a_link_between_hubs_leaves_no_trace_of_rounding() -> None:
    """What is left of paths through the link must not show that there was a link: nothing is left."""
    spokes = [(hub, 2 + 500 * hub + leaf) for hub in (0, 1) for leaf in range(500)]
    pairs = np.array([(0, 1), *spokes])
    graph = Graph.from_pairs(pairs[:, 0], pairs[:, 1], 1002)
    row = PairFeatures(graph, np.zeros((1002, 2), np.float32)).rows(np.array([0]), without=np.array([1]))
    assert row[FEATURES.index("three_paths"), 0, 1] == 0


def test_pairs_and_columns_pick_from_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    _, graph, vectors = made(30, 0.2, 4)
    features = PairFeatures(graph, vectors)
    rows = features.rows(np.arange(30))
    rng = np.random.default_rng(0)
    sources, targets = rng.integers(0, 30, (2, 200))
    np.testing.assert_allclose(features.pairs(sources, targets), rows[:, sources, targets], atol=1e-6)
    columns = np.array([7, 3, 3, 29])
    np.testing.assert_allclose(features.rows(sources[:5], columns), rows[:, sources[:5]][:, :, columns], atol=1e-6)
    monkeypatch.setattr(features, "block_rows", lambda: 4)  # several blocks, as a large graph has
    np.testing.assert_allclose(features.pairs(sources, targets), rows[:, sources, targets], atol=1e-6)


def test_isolated_nodes_and_no_pairs() -> None:
    graph = Graph.from_pairs(np.array([0]), np.array([1]), 4)
    vectors = np.eye(4, dtype=np.float32)
    rows = PairFeatures(graph, vectors).rows(np.arange(4))
    assert np.isfinite(rows).all()
    others = ~np.eye(4, dtype=bool)
    assert (rows[:5, others] == 0).all() and (rows[5:, 2, 3] == 0).all()
    assert rows[5, 0, 2] == pytest.approx(math.log(2))
    alone = PairFeatures(graph, vectors).rows(np.array([0]), without=np.array([1]))
    assert (alone[:, 0, 1:] == 0).all(), "without its only link the node is like the isolated ones"
    empty = np.zeros(0, np.int64)
    assert PairFeatures(graph, vectors).pairs(empty, empty).shape == (len(FEATURES), 0)


def test_a_graph_without_links_has_only_cosines() -> None:
    none = np.zeros(0, np.int64)
    vectors = np.eye(3, dtype=np.float32)
    rows = PairFeatures(Graph.from_pairs(none, none, 3), vectors).rows(np.arange(3))
    assert (rows[FEATURES.index("cosine")] == np.eye(3)).all() and rows.sum() == 3


def test_a_block_stays_within_its_memory() -> None:
    none = np.zeros(0, np.int64)
    large = PairFeatures(Graph.from_pairs(none, none, 1_000_000), np.zeros((1_000_000, 1), np.float32))
    assert 1 <= large.block_rows() * 1_000_000 * 4 <= 2**27
