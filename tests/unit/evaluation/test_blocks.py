"""Sparse scores answer exactly as the same scores laid out in full do."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from data.graph.graph import Graph
from evaluation.blocks import block_of, ragged
from evaluation.links import HardNegatives, LinkScores, pair_scores, rank_links

N = 12
SCORES = st.sampled_from([0.0, 0.0, 0.0, -0.0, 1.0, -1.0, 0.1, 2.5, np.inf])
PAIRS = st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, N - 1)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SCORES, min_size=N * N, max_size=N * N), PAIRS, st.integers(1, 5), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_ranks_of_sparse_scores_equal_those_of_dense_ones(
    scores: list[float], links: list[tuple[int, int]], batch_size: int, explicit_zeros: bool, seed: int
) -> None:
    table = np.array(scores, np.float32).reshape(N, N)
    stored = sp.csr_array(np.ones_like(table) if explicit_zeros else table)
    if explicit_zeros:
        stored.data = table.ravel()
    sources, targets = np.array([pair for pair in links if pair[0] != pair[1]], np.int64).reshape(-1, 2).T
    known = Graph.from_pairs(sources, targets, N)
    hard = HardNegatives(np.arange(N), np.random.default_rng(seed).integers(-1, N, (N, 4)))
    dense = rank_links(lambda s: table[s], sources, targets, known, hard, batch_size)
    sparse = rank_links(lambda s: stored[s], sources, targets, known, hard, batch_size)
    assert dense.ranks.tolist() == sparse.ranks.tolist()
    assert dense.hard_rivals is not None and sparse.hard_rivals is not None
    assert dense.hard_rivals.tolist() == sparse.hard_rivals.tolist()
    for method in (LinkScores(lambda s: stored[s]), LinkScores(lambda s: table[s], lambda s, t: table[s, t])):
        wanted = (table[sources, targets] + table[targets, sources]) / np.float32(2)
        assert pair_scores(method, sources, targets, N, batch_size).tolist() == wanted.tolist()


def test_entries_that_occur_twice_are_added_up() -> None:
    twice = sp.csr_array((np.array([1, 2, 1], np.float32), np.array([3, 3, 0]), np.array([0, 3])), (1, 5))
    block = block_of(twice, 1, 5)
    assert block.at(np.array([0, 0, 0]), np.array([3, 0, 1])).tolist() == [3.0, 1.0, 0.0]
    assert [counts.tolist() for counts in block.rivals(np.array([0]), np.array([1], np.float32))] == [[1], [1]]


def test_a_sparse_nan_or_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must return \(1, 3\)"):
        block_of(sp.csr_array(np.array([[0, np.nan, 1]], np.float32)), 1, 3)
    with pytest.raises(ValueError, match=r"must return \(2, 3\)"):
        block_of(sp.csr_array((1, 3), dtype=np.float32), 2, 3)


def test_hard_negatives_count_before_the_target_and_by_half_where_level() -> None:
    table = np.array([[0, 1, 2, 3, 2]], np.float32)
    known = Graph.from_pairs(np.array([0]), np.array([2]), 5)
    hard = HardNegatives(np.array([0]), np.array([[1, 3, 4, -1]]))
    ranked = rank_links(lambda s: table, np.array([0]), np.array([2]), known, hard)
    assert ranked.hard_rivals is not None
    assert ranked.hard_rivals.tolist() == [1.5]
    assert ranked.ranks.tolist() == [1 + 1 + 0.5]


def test_ragged_rows() -> None:
    query, place = ragged(np.array([0, 2, 2, 5]), np.array([2, 0, 1, 2]))
    assert query.tolist() == [0, 0, 0, 1, 1, 3, 3, 3]
    assert place.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
