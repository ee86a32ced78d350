"""Pair features against networkx and plain loops."""

import math
from functools import cache

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from data.graph.graph import Graph
from evaluation.baselines import LocalPush
from training.links.features import FEATURES, VISIT, PairFeatures, turned
from training.links.paths import WALK_TOLERANCE, PathFinder

WORDS = sp.random_array((30, 50), density=0.2, rng=np.random.default_rng(9), dtype=np.float32, format="csr")

STATES = np.random.default_rng(8).normal(size=(30, 6)).astype(np.float32)
STATES /= np.linalg.norm(STATES, axis=1, keepdims=True)


def made(num_nodes: int, probability: float, seed: int) -> tuple[nx.Graph, Graph, np.ndarray]:
    known = nx.gnp_random_graph(num_nodes, probability, seed=seed)
    pairs = np.array(list(known.edges), np.int64).reshape(-1, 2)
    vectors = np.random.default_rng(seed).normal(size=(num_nodes, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return known, Graph.from_pairs(pairs[:, 0], pairs[:, 1], num_nodes), vectors


@cache
def visits(known: nx.Graph, u: int) -> dict[int, float]:
    reached = known.subgraph(nx.node_connected_component(known, u))
    found: dict[int, float] = nx.pagerank(reached, alpha=0.85, personalization={u: 1}, tol=1e-12, max_iter=1000)
    return found


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

    def near(vectors: np.ndarray, a: int, b: int) -> float:
        return math.sqrt(max(float(vectors[a] @ vectors[b]), 0.01))

    def paths(vectors: np.ndarray) -> float:
        return math.log1p(sum(near(vectors, u, w) * near(vectors, w, v) / math.sqrt(degree[w]) for w in shared))

    return {
        "similar_paths": paths(vectors),
        "state_paths": paths(STATES[: len(vectors)]),
        "state_cosine": float(STATES[u] @ STATES[v]),
        "common_neighbours": math.log1p(len(shared)),
        "adamic_adar": math.log1p(sum(1 / math.log(degree[w]) for w in shared)),
        "resource_allocation": math.log1p(sum(1 / degree[w] for w in shared)),
        "three_paths": math.log1p(three),
        "walks": math.log1p(visits(known, u).get(v, 0.0) / VISIT),
        "cosine": float(vectors[u] @ vectors[v]),
        "source_degree": math.log1p(degree[u]),
        "target_degree": math.log1p(degree[v]),
        "shared_words": float((WORDS[u] @ WORDS[v].T).sum()),
    }


GRAPHS = [(12, 0.4, 0), (25, 0.15, 1), (25, 0.04, 2), (6, 1, 3)]


@pytest.mark.parametrize(("num_nodes", "probability", "seed"), GRAPHS)
def test_every_feature_of_an_unlinked_pair(
    num_nodes: int, probability: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.links.paths.WALK_TOLERANCE", 1e-10)
    known, graph, vectors = made(num_nodes, probability, seed)
    features = PairFeatures(graph, vectors, WORDS[:num_nodes], STATES[:num_nodes])
    pairs = np.array([*nx.non_edges(known), *[(v, u) for u, v in nx.non_edges(known)]], np.int64).reshape(-1, 2)
    rows = features.pairs(pairs[:, 0], pairs[:, 1])
    assert rows.shape == (len(pairs), len(FEATURES)) and rows.dtype == np.float32
    for (u, v), row in zip(pairs.tolist(), rows.tolist(), strict=True):
        assert dict(zip(FEATURES, row, strict=True)) == pytest.approx(naive(known, vectors, u, v), abs=2e-5), (u, v)


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    _, graph, vectors = made(25, 0.15, 1)
    features = PairFeatures(graph, vectors, WORDS[:25], STATES[:25])
    rng = np.random.default_rng(0)
    s, t = rng.integers(0, 25, (2, 200))
    whole = features.pairs(s, t)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    monkeypatch.setattr("training.links.features._PAIRS_AT_ONCE", 7)
    monkeypatch.setattr("training.links.features._ROWS_AT_ONCE", 3)
    monkeypatch.setattr("training.links.paths._SCRATCH", 60)
    np.testing.assert_allclose(features.pairs(s, t), whole, atol=1e-6)


@pytest.mark.parametrize(("num_nodes", "probability", "seed"), GRAPHS)
def test_visits_of_pairs_are_those_of_whole_rows(num_nodes: int, probability: float, seed: int) -> None:
    _, graph, _ = made(num_nodes, probability, seed)
    every = np.arange(num_nodes)
    s, t = np.repeat(every, num_nodes), np.tile(every, num_nodes)
    rows = LocalPush(graph, tolerance=WALK_TOLERANCE).rows(every).toarray()
    np.testing.assert_allclose(PathFinder(graph).between(s, t).visits, rows.ravel(), rtol=1e-5, atol=1e-9)


def test_without_links_texts_words_or_states() -> None:
    nothing = Graph.from_pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), 5)
    rows = PairFeatures(nothing, np.zeros((5, 0), np.float32)).pairs(np.arange(4), np.arange(1, 5))
    assert rows.shape == (4, len(FEATURES)) and not rows.any()
    none = np.zeros(0, np.int64)
    assert PairFeatures(nothing, np.zeros((5, 0), np.float32)).pairs(none, none).shape == (0, len(FEATURES))


def test_the_other_direction_follows_from_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.links.paths.WALK_TOLERANCE", 1e-10)
    known, graph, vectors = made(25, 0.2, 4)
    u, v = np.array(list(nx.non_edges(known)), np.int64).T
    features = PairFeatures(graph, vectors, WORDS[:25], STATES[:25])
    np.testing.assert_allclose(turned(features.pairs(u, v)), features.pairs(v, u), atol=1e-5)
