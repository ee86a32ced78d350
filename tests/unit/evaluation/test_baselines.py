"""Baselines against networkx, which computes them pair by pair, and on a real citation graph."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from data.graph.graph import Graph, GraphConfig
from data.graph.split import split_links
from evaluation.baselines import (
    adamic_adar,
    common_neighbours,
    cosine,
    katz,
    personalised_pagerank,
    random_projection,
    resource_allocation,
    similarity,
)
from evaluation.links import LinkScores, both_directions, link_metrics, link_ranks, unordered_pairs


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
        scores = ours.rows(np.arange(55)).toarray()
        assert scores.dtype == np.float32
        assert scores.shape == (55, 55)
        kwargs = {"alpha": 1.0} if function is nx.common_neighbor_centrality else {}  # alpha 1 leaves the count alone
        open_pairs = [pair for pair in pairs if not theirs.has_edge(*pair)]
        for u, v, wanted in function(theirs, open_pairs, **kwargs):
            assert scores[u, v] == pytest.approx(wanted, abs=1e-5), (function.__name__, u, v)


def test_a_subset_of_sources_gives_the_same_rows(graph: Graph) -> None:
    score = adamic_adar(graph)
    np.testing.assert_allclose(score.rows(np.array([7, 3])).toarray(), score.rows(np.arange(55))[[7, 3]].toarray())


def test_katz_counts_paths_by_their_length(graph: Graph) -> None:
    links = graph.adjacency.toarray().astype(np.float64)
    wanted = 0.1 * links + 0.01 * links @ links + 0.001 * links @ links @ links
    np.testing.assert_allclose(katz(graph, 0.1, 3).rows(np.arange(55)).toarray(), wanted, rtol=1e-5)


def test_pagerank_equals_networkx(graph: Graph) -> None:
    theirs = nx.from_scipy_sparse_array(graph.adjacency)
    ours = personalised_pagerank(graph, tolerance=1e-8).rows(np.array([4, 9])).toarray()
    for row, source in enumerate((4, 9)):
        wanted = nx.pagerank(theirs, alpha=0.85, personalization={source: 1.0}, tol=1e-12)
        np.testing.assert_allclose(ours[row], [wanted[n] for n in range(55)], atol=2e-6)


def test_pagerank_of_a_coarser_tolerance_is_near_and_sparser() -> None:
    ring = Graph.from_pairs(np.arange(400), (np.arange(400) + 1) % 400, 400)
    exact = personalised_pagerank(ring, tolerance=1e-8).rows(np.arange(5)).toarray()
    coarse = personalised_pagerank(ring, tolerance=1e-3).rows(np.arange(5)).toarray()
    assert (exact > 0).sum() > 2 * (coarse > 0).sum()
    assert -1e-6 < (exact - coarse).min() and (exact - coarse).max() < 1e-3 * 2


def test_pagerank_of_an_isolated_document_ends(graph: Graph) -> None:
    rows = personalised_pagerank(graph).rows(np.array([54])).toarray()
    assert np.flatnonzero(rows[0]).tolist() == [54]


def test_a_random_projection_keeps_near_texts_near() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(40, 300)).astype(np.float32)
    vectors[1] = vectors[0] + 0.1 * rng.normal(size=300)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    projected = random_projection(vectors).rows(np.array([0]))
    assert isinstance(projected, np.ndarray) and projected.shape == (1, 40)
    assert int(np.argsort(-projected[0])[1]) == 1
    np.testing.assert_allclose(
        random_projection(vectors[:, :5]).rows(np.arange(40)),
        vectors[:, :5] @ vectors[:, :5].T / np.outer(*[np.linalg.norm(vectors[:, :5], axis=1)] * 2),
        atol=1e-5,
    )  # of fewer dimensions it only turns


@pytest.mark.parametrize(
    "method", [common_neighbours, adamic_adar, resource_allocation, katz, partial(katz, factor=0.2, length=5)]
)
def test_pairs_of_structure_score_as_in_rows(graph: Graph, method: Callable[[Graph], LinkScores]) -> None:
    made = method(graph)
    assert made.pairs is not None
    sources, targets = np.divmod(np.arange(55 * 55), 55)
    rows = made.rows(np.arange(55))
    assert not isinstance(rows, np.ndarray)
    np.testing.assert_allclose(made.pairs(sources, targets), rows.toarray().ravel(), rtol=1e-5)


def test_pagerank_of_pairs_is_that_of_rows_in_both_directions(graph: Graph) -> None:
    method = personalised_pagerank(graph, tolerance=1e-8)
    assert method.pairs is not None
    sources, targets = np.divmod(np.arange(55 * 55), 55)
    rows = method.rows(np.arange(55))
    assert not isinstance(rows, np.ndarray)
    np.testing.assert_allclose(method.pairs(sources, targets), rows.toarray().ravel(), atol=1e-5)


def test_pairs_score_as_in_rows() -> None:
    vectors = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)
    method = similarity(vectors)
    assert method.pairs is not None
    np.testing.assert_allclose(
        method.pairs(np.array([1, 5]), np.array([0, 2])), [vectors[1] @ vectors[0], vectors[5] @ vectors[2]], rtol=1e-5
    )


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
    asked, answers = both_directions(sources[split == 2], targets[split == 2])
    scorers = {
        "cosine": cosine(words),
        "adamic_adar": adamic_adar(train).rows,
        "common_neighbours": common_neighbours(train).rows,
        "katz": katz(train).rows,
        "personalised_pagerank": personalised_pagerank(train).rows,
    }
    mrr = {name: link_metrics(link_ranks(score, asked, answers, known))["mrr"] for name, score in scorers.items()}
    chance = 0.003  # the mean of 1/rank over 2,707 ranks
    assert min(mrr.values()) > 20 * chance
    assert mrr["personalised_pagerank"] > mrr["katz"] > mrr["adamic_adar"] > mrr["common_neighbours"]
