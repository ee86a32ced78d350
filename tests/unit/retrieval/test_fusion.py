"""What lists give to passages: each method by hand and against the engine's own, weights, lists that end early."""

from pathlib import Path

import numpy as np
import pytest
import qdrant_edge as edge

from retrieval.config import Fusing, IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.fusion import fuse, fusion_of, given
from retrieval.index import Hit, IndexQuery, Trust
from retrieval.weights import Fusion
from tests.unit.retrieval.test_congruence import DIM, random_passages, random_queries

DEPTH = 4
A, B, C, D, E = range(5)
DENSE = [Hit(A, 0.9, {}), Hit(B, 0.8, {}), Hit(C, 0.7, {}), Hit(D, 0.5, {})]
WORDS = [Hit(C, 8.0, {}), Hit(E, 2.0, {})]


def test_scores_are_scaled_by_the_best_and_the_last_of_a_list() -> None:
    fusion = Fusion("sum", {"dense": 0.25, "bm25": 0.75})
    np.testing.assert_allclose(given("dense", DENSE, fusion, DEPTH), 0.25 * np.array([1, 0.75, 0.5, 0]))
    assert given("bm25", WORDS, fusion, DEPTH).tolist() == [0.75, 0.75 * 0.25], "what it lacks has none of the words"
    assert given("bm25", WORDS, fusion, 2).tolist() == [0.75, 0.0], "it may have gone on"
    assert fuse({"dense": DENSE, "bm25": WORDS}, fusion, DEPTH)[0] == (C, pytest.approx(0.75 + 0.125))


@pytest.mark.parametrize("method", ["sum", "dbsf"])
def test_a_list_of_equal_scores_tells_nothing_but_that_they_are_in_it(method: Fusing) -> None:
    equal = [Hit(key, 0.5, {}) for key in (A, B)]
    gives = given("dense", equal, Fusion(method), DEPTH)
    assert gives[0] == gives[1] > 0
    assert given("dense", equal[:1], Fusion(method), DEPTH)[0] > 0
    assert given("dense", [], Fusion(method), DEPTH).tolist() == []


@pytest.mark.parametrize("method", ["sum", "rrf", "dbsf"])
def test_a_list_without_weight_gives_nothing(method: Fusing) -> None:
    fusion = Fusion(method, {"bm25": 1.0, "dense": 0.0})
    assert not given("dense", DENSE, fusion, DEPTH).any()
    assert not given("dense", DENSE, Fusion(method, {"bm25": 1.0}), DEPTH).any()
    assert fuse({"dense": DENSE, "bm25": WORDS}, fusion, DEPTH)[0][0] == C


def test_ties_are_in_the_order_of_keys() -> None:
    lists = {"dense": [Hit(B, 1.0, {}), Hit(A, 0.5, {})], "bm25": [Hit(A, 9.0, {}), Hit(B, 4.5, {})]}
    assert [key for key, _ in fuse(lists, Fusion("rrf", {"dense": 1.0, "bm25": 1.0}), 2)] == [A, B]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "theirs"), [("rrf", edge.Fusion.Rrf(k=61, weights=[0.6, 1.0])), ("dbsf", edge.Fusion.Dbsf())]
)
def test_it_is_the_engines_formula(method: Fusing, theirs: edge.Fusion, tmp_path: Path) -> None:
    """The engine adds (rank / weight - 1) to k, and fuses by distributions without weights."""
    index = EdgeIndex.create(tmp_path / "index", DIM, (), IndexConfig())
    index.upsert(random_passages(200))
    index.finish()
    fusion = Fusion(method, {"dense": 0.6, "bm25": 1.0} if method == "rrf" else {"dense": 1.0, "bm25": 1.0})
    queries = random_queries(10, filters=False)
    for dense, words in zip(queries["dense"], queries["bm25"], strict=True):
        lists = dict(zip(("dense", "bm25"), _lists(index, dense, words), strict=True))
        asked = [edge.Query.Nearest(dense.dense, using="dense")]
        assert words.sparse is not None
        asked.append(edge.Query.Nearest(edge.SparseVector(*words.sparse), using="bm25"))
        prefetches = [edge.Prefetch(limit=30, query=one) for one in asked]
        request = edge.QueryRequest(limit=60, query=theirs, prefetches=prefetches, with_payload=True)
        (points,) = index._shard.query_batch(edge.QueryBatchRequest([request]))
        expected = {point.id: point.score for point in points}
        found = dict(fuse(lists, fusion, 30))  # type: ignore[arg-type]
        assert found.keys() == expected.keys()
        if method == "dbsf":  # equal scores have no one rank
            np.testing.assert_allclose([found[id_] for id_ in expected], list(expected.values()), rtol=1e-3, atol=1e-4)
        else:
            np.testing.assert_allclose(sorted(found.values()), sorted(expected.values()), rtol=0.05)
    index.close()


def _lists(index: EdgeIndex, dense: IndexQuery, words: IndexQuery) -> list[list[Hit]]:
    return index.query_batch([IndexQuery(30, dense=dense.dense), IndexQuery(30, sparse=words.sparse)])


def test_weights_are_those_of_the_run_file_else_what_was_measured() -> None:
    trust = Trust(questions=9, mrr={"dense": 0.1}, interval={}, weights={"dense": 0.2, "bm25": 0.8})
    assert fusion_of(IndexConfig(), None).weights == {"dense": 0.5, "bm25": 0.5}
    assert fusion_of(IndexConfig(), trust).weights == {"dense": 0.2, "bm25": 0.8}
    assert fusion_of(IndexConfig(weights={"dense": 3, "bm25": 1}), trust).weights == {"dense": 0.75, "bm25": 0.25}
    assert fusion_of(IndexConfig(fusion="rrf", rrf_k=5), trust) == Fusion("rrf", {"dense": 0.25, "bm25": 1.0}, 5)


@pytest.mark.parametrize("weights", [{}, {"dense": 0.0}, {"dense": -1.0, "bm25": 2.0}])
def test_weights_that_weigh_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="one of them is more than 0"):
        IndexConfig(weights=weights)
