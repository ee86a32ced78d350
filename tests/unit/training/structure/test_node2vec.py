"""node2vec: walks follow links with the probabilities of p and q; vectors tell groups apart; graphs without links."""

import numpy as np
import pytest
import scipy.sparse as sp

from data.graph.graph import Graph
from data.matrices import unit_rows
from training.structure.node2vec import Node2Vec, factorise, information, meetings, node2vec, walk

# 0 is linked with 1, 2 and 3, and 1 with 2: from 0 after 1, back is 1, near is 2, away is 3.
KITE = Graph.from_pairs(np.array([0, 0, 0, 1]), np.array([1, 2, 3, 2]), 5)


@pytest.mark.parametrize(("back", "away"), [(1.0, 1.0), (0.25, 4.0), (4.0, 0.5)])
def test_second_steps_are_those_of_p_and_q(back: float, away: float) -> None:
    config = Node2Vec(length=2, back=back, away=away)
    visited = walk(KITE, np.full(40_000, 1), config, np.random.default_rng(0))
    second = visited[1][visited[0] == 0]
    weights = np.array([1 / back, 1.0, 1 / away])
    wanted = len(second) * weights / weights.sum()
    counts = np.bincount(second, minlength=4)[1:4]
    assert ((counts - wanted) ** 2 / wanted).sum() < 13.8  # chi-square of 2 degrees of freedom, p = 0.001


def test_each_step_follows_a_link() -> None:
    start = np.array([0, 1, 2, 3] * 50)
    visited = np.vstack([start, walk(KITE, start, Node2Vec(length=6), np.random.default_rng(1))])
    assert KITE.adjacency[visited[:-1].ravel(), visited[1:].ravel()].min() == 1


def test_vectors_tell_groups_apart_and_are_reproducible() -> None:
    rng = np.random.default_rng(2)
    group = np.arange(200) // 20
    u, v = np.triu_indices(200, 1)
    linked = rng.random(len(u)) < np.where(group[u] == group[v], 0.4, 0.005)
    graph = Graph.from_pairs(u[linked], v[linked], 201)
    vectors = node2vec(graph, Node2Vec(dim=16))
    assert vectors.shape == (201, 16) and vectors.dtype == np.float32
    assert not vectors[200].any()  # isolated
    similar = (unit_rows(vectors) @ unit_rows(vectors).T)[:200, :200]
    same = group[:, None] == group
    assert similar[same].mean() > similar[~same].mean() + 0.5
    np.testing.assert_array_equal(vectors, node2vec(graph, Node2Vec(dim=16)))


def test_meetings_are_symmetric_and_information_is_positive() -> None:
    met = meetings(KITE, Node2Vec(walks=20))
    assert abs(met - met.T).max() == 0 and met.diagonal().max() == 0
    known = information(met, 1.0)
    assert known.nnz and known.data.min() > 0
    assert information(met, 1e9).nnz == 0


def test_products_approximate_the_matrix() -> None:
    rng = np.random.default_rng(3)
    half = rng.random((60, 5)).astype(np.float32)
    vectors = factorise(sp.csr_array(half @ half.T), 5, seed=0)
    np.testing.assert_allclose(vectors @ vectors.T, half @ half.T, atol=1e-3)


@pytest.mark.parametrize("num_nodes", [0, 1, 3])
def test_a_graph_without_links_has_vectors_of_zeros(num_nodes: int) -> None:
    empty = Graph.from_pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), num_nodes)
    vectors = node2vec(empty, Node2Vec(dim=4))
    assert vectors.shape == (num_nodes, 4) and not vectors.any()
