"""Both engines, given the same random passages and questions, find the same.

The server's side is Qdrant's in-memory client, or the server at ``CATENA_QDRANT_URL`` where that is set.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient

from data.lexical import BM25, SparseVector, Tokenizer
from retrieval.config import IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.engines.server import ServerIndex, connect
from retrieval.index import Filter, Hit, IndexedPassage, IndexQuery, VectorIndex

pytestmark = [  # what the in-memory client says of itself
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

DIM = 16
KEYS = ("kind", "a.b")
WORDS = [f"word{i}" for i in range(60)]


def random_passages(count: int, seed: int = 0) -> list[IndexedPassage]:
    rng = np.random.default_rng(seed)
    bm25 = BM25(Tokenizer("none"), 12.0)
    frequency = 1 / np.arange(1, len(WORDS) + 1)
    passages = []
    for i in range(count):
        vector = rng.normal(size=DIM).astype(np.float32)
        text = " ".join(rng.choice(WORDS, size=rng.integers(3, 25), p=frequency / frequency.sum()))
        sparse = bm25.passage(text)  # scaled below, for equal scores have no one rank and fuse by chance
        passages.append(
            IndexedPassage(
                id=f"p{i}",
                document_id=f"doc/{i // 3}",
                title=f"title {i}",
                text=text,
                start=i,
                end=i + len(text),
                metadata={"kind": f"k{i % 4}", "a.b": str(i % 2)},
                vector=vector / np.linalg.norm(vector),
                sparse=SparseVector(sparse.indices, sparse.values * rng.uniform(0.9, 1.1)),
            )
        )
    return passages


def random_queries(count: int, filters: bool, seed: int = 1) -> dict[str, list[IndexQuery]]:
    rng = np.random.default_rng(seed)
    bm25 = BM25(Tokenizer("none"), 12.0)
    queries: dict[str, list[IndexQuery]] = {"dense": [], "bm25": [], "hybrid": []}
    for i in range(count):
        vector = rng.normal(size=DIM).astype(np.float32)
        vector /= np.linalg.norm(vector)
        sparse = bm25.query(" ".join(rng.choice(WORDS, size=3)))
        filters_of_kinds: list[Filter] = [
            {"kind": ["k0", "k3"]},
            {"a.b": "1"},
            {"kind": "k1", "a.b": "1"},
            {"document_id": f"doc/{i}"},
        ]
        filter_ = filters_of_kinds[i % 4] if filters else {}
        queries["dense"].append(IndexQuery(15, dense=vector, filter=filter_))
        queries["bm25"].append(IndexQuery(15, sparse=sparse, filter=filter_))
        queries["hybrid"].append(IndexQuery(15, vector, sparse, fused=True, prefetch=400, filter=filter_))
    return queries


@pytest.fixture(scope="module")
def server_client() -> Iterator[QdrantClient]:
    url = os.environ.get("CATENA_QDRANT_URL")
    if url:
        client = connect(IndexConfig(engine="server", url=url))
    else:
        client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, server_client: QdrantClient) -> Iterator[list[VectorIndex]]:
    config = IndexConfig()
    edge = EdgeIndex.create(tmp_path_factory.mktemp("edge") / "index", DIM, KEYS, config)
    collection = f"catena-test-{uuid4().hex[:8]}"
    server = ServerIndex.create(server_client, collection, DIM, KEYS, config)
    passages = random_passages(400)
    for index in (edge, server):
        for start in (0, 200, 200):  # the second half twice: an upsert of the same passage adds nothing
            index.upsert(passages[start : start + 200])
        index.finish()
    yield [edge, server]
    edge.close()
    server_client.delete_collection(collection)


def assert_same(ours: list[Hit], theirs: list[Hit], limit: int) -> None:
    """Equal scores at each rank, and equal passages wherever a score is not tied and not at the cut."""
    assert len(ours) == len(theirs)
    np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], rtol=2e-5)
    if not ours:
        return
    last = ours[-1].score if len(ours) == limit else -np.inf
    clear = [{h.passage_id for h in hits if h.score > last * (1 + 1e-4)} for hits in (ours, theirs)]
    assert clear[0] == clear[1]
    stored = {h.passage_id: h.payload for h in theirs}
    assert all(h.payload == stored[h.passage_id] for h in ours if h.passage_id in stored)


def test_the_same_passage_twice_is_stored_once(engines: list[VectorIndex]) -> None:
    assert [index.count() for index in engines] == [400, 400]


@pytest.mark.parametrize("filters", [False, True], ids=["all", "filtered"])
@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_engines_agree(engines: list[VectorIndex], mode: str, filters: bool) -> None:
    queries = random_queries(40, filters)[mode]
    edge, server = (index.query_batch(queries) for index in engines)
    assert any(edge)
    for query, ours, theirs in zip(queries, edge, server, strict=True):
        assert_same(ours, theirs, query.limit)


def test_filters_let_only_allowed_values_through(engines: list[VectorIndex]) -> None:
    queries = random_queries(40, filters=True)["hybrid"]
    for index in engines:
        for query, hits in zip(queries, index.query_batch(queries), strict=True):
            for hit in hits:
                described = {"document_id": hit.payload["document_id"], **hit.payload["metadata"]}
                assert all(described[key] in value for key, value in query.filter.items())


def test_fusion_is_reciprocal_rank_with_the_configured_k(engines: list[VectorIndex]) -> None:
    """Cormack, Clarke and Büttcher, SIGIR 2009: the sum of 1 / (k + rank) over the lists."""
    queries = random_queries(10, filters=False)
    for index in engines:
        lists = [
            index.query_batch([IndexQuery(400, dense=q.dense, sparse=q.sparse) for q in queries[mode]])
            for mode in ("dense", "bm25")
        ]
        for fused, dense, bm25 in zip(index.query_batch(queries["hybrid"]), *lists, strict=True):
            ranks = [{h.passage_id: rank for rank, h in enumerate(hits, start=1)} for hits in (dense, bm25)]
            for hit in fused:
                expected = sum(1 / (60 + r[hit.passage_id]) for r in ranks if hit.passage_id in r)
                assert hit.score == pytest.approx(expected, rel=1e-3)


def test_a_query_names_what_to_search_by(engines: list[VectorIndex]) -> None:
    with pytest.raises(ValueError, match="names one vector"):
        engines[0].query_batch([IndexQuery(5)])


def test_hnsw_finds_what_exact_search_finds(tmp_path: Path) -> None:
    passages = random_passages(3000, seed=5)
    indexes = [
        EdgeIndex.create(tmp_path / name, DIM, (), IndexConfig(exact_below_points=below))
        for name, below in (("exact", 10_000), ("graph", 0))
    ]
    for index in indexes:
        index.upsert(passages)
        index.finish()
    vectors_in_graphs = [index._shard.info().indexed_vectors_count for index in indexes]
    assert vectors_in_graphs[1] > vectors_in_graphs[0]
    queries = random_queries(50, filters=False)["dense"]
    exact, graph = (index.query_batch(queries) for index in indexes)
    found = [len({h.passage_id for h in a} & {h.passage_id for h in b}) for a, b in zip(exact, graph, strict=True)]
    assert sum(found) / (15 * 50) >= 0.95


def test_several_processes_may_read_one_folder(tmp_path: Path) -> None:
    built = EdgeIndex.create(tmp_path / "index", DIM, KEYS, IndexConfig())
    built.upsert(random_passages(20))
    built.finish()
    other = EdgeIndex.open(tmp_path / "index", IndexConfig())
    assert (other.count(), built.count()) == (20, 20)
