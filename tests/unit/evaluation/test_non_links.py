"""Pairs that are not linked: never a link, never twice, evenly drawn; hard ones in the order of the methods."""

import numpy as np
import pytest
import scipy.sparse as sp

from data.graph.graph import Graph
from data.matrices import best_of_rows
from evaluation.blocks import Nodes
from evaluation.links import unordered_pairs
from evaluation.non_links import hard_negatives, random_non_links


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph.from_pairs(*unordered_pairs(*np.random.default_rng(0).integers(0, 30, (2, 120))), 30)


def test_random_non_links_are_no_links_and_differ(graph: Graph) -> None:
    low, high = random_non_links(graph, 200, seed=1)
    assert (low < high).all()
    assert graph.adjacency[low, high].max() == 0
    assert len(set(zip(low.tolist(), high.tolist(), strict=True))) == 200
    again, _ = random_non_links(graph, 200, seed=1)
    assert low.tolist() == again.tolist()


def test_all_there_are_where_more_are_asked_for(graph: Graph) -> None:
    low, _ = random_non_links(graph, 10_000, seed=1)
    assert len(low) == 30 * 29 // 2 - len(graph.indices) // 2
    assert len(random_non_links(Graph.from_pairs(np.array([0]), np.array([1]), 2), 5, seed=0)[0]) == 0


def test_every_non_link_is_equally_likely() -> None:
    graph = Graph.from_pairs(np.array([0]), np.array([1]), 5)
    counts = np.zeros((5, 5))
    for seed in range(900):
        low, high = random_non_links(graph, 1, seed)
        counts[low, high] += 1
    drawn = counts[np.triu_indices(5, 1)]
    assert drawn[0] == 0  # the link
    assert ((drawn[1:] - 100) ** 2 / 100).sum() < 26.1  # chi-square of 8 degrees of freedom, p = 0.001


def test_hard_negatives_take_the_best_place_of_any_method() -> None:
    known = Graph.from_pairs(np.array([0]), np.array([1]), 6)
    first = np.array([[9, 8, 5, 4, 0, 0]] * 6, np.float32)  # 0 and 1 are left out: itself and a link
    second = sp.csr_array(np.array([[0, 7, 0, 0, 3, 0]] * 6, np.float32))
    found = hard_negatives([lambda s: first[s], lambda s: second[s]], np.array([0]), known, 3, seed=0)
    assert found.sources.tolist() == [0]
    assert found.documents.tolist() == [[2, 4, 3]]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_random_documents_fill_up_and_nothing_linked_is_named(graph: Graph, batch_size: int) -> None:
    def nothing(sources: Nodes) -> sp.csr_array:
        return sp.csr_array((len(sources), 30), dtype=np.float32)

    found = hard_negatives([nothing], np.arange(30), graph, 8, seed=0, batch_size=batch_size)
    for source, documents in zip(found.sources.tolist(), found.documents.tolist(), strict=True):
        kept = [document for document in documents if document >= 0]
        assert len(kept) == len(set(kept)) >= 4
        assert source not in kept
        assert graph.adjacency[[source] * len(kept), kept].max() == 0


def test_the_best_of_each_row() -> None:
    matrix = sp.csr_array(np.array([[1, 3, 0, 3, 2], [0, 0, 0, 0, 0], [-1, 0, 0, 0, 5]], np.float32))
    rows, columns, places = best_of_rows(matrix, 3)
    assert rows.tolist() == [0, 0, 0, 2]
    assert columns.tolist() == [1, 3, 4, 4]
    assert places.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("place_bits", [18, 2])
@pytest.mark.parametrize("row_bits", [13, 1])
def test_the_best_of_rows_equal_a_plain_sort(place_bits: int, row_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where rows are too many, or too long, for one key."""
    monkeypatch.setattr("data.matrices._PLACE_BITS", place_bits)
    monkeypatch.setattr("data.matrices._ROW_BITS", row_bits)
    monkeypatch.setattr("data.matrices._ROWS_OF_KEYS", 2**row_bits)
    rng = np.random.default_rng(0)
    dense = (rng.integers(-3, 4, (9, 40)) * rng.choice([0.5, 1e-20, 3e20], (9, 40))).astype(np.float32)
    rows, columns, places = best_of_rows(sp.csr_array(dense), 5)
    wanted = [
        (row, int(column), place)
        for row in range(9)
        for place, column in enumerate([c for c in np.argsort(-dense[row], kind="stable") if dense[row, c] > 0][:5])
    ]
    assert list(zip(rows.tolist(), columns.tolist(), places.tolist(), strict=True)) == wanted
    assert [len(part) for part in best_of_rows(sp.csr_array((0, 4), dtype=np.float32), 2)] == [0, 0, 0]
