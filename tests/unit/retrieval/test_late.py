"""Late interaction in both engines: the fused list's best passages, rescored by MaxSim."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient

from data.lexical import BM25, SparseVector, Tokenizer
from retrieval.clauses import Match
from retrieval.config import IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.engines.server import ServerIndex, connect
from retrieval.filter_keys import FilterKey
from retrieval.fused import FusedIndex
from retrieval.index import IndexedPassage, IndexQuery, VectorIndex
from retrieval.maxsim import maxsim
from retrieval.weights import Fusion

pytestmark = [  # what the in-memory client says of itself
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

DIM, LATE_DIM, COUNT = 16, 8, 200
KEYS = (FilterKey(path=("kind",), kinds=("text",)),)


def passages() -> list[IndexedPassage]:
    rng = np.random.default_rng(0)
    bm25 = BM25(Tokenizer("none"), 12.0)
    made = []
    for i in range(COUNT):
        text = " ".join(f"word{j}" for j in rng.integers(0, 40, 12))
        sparse = bm25.passage(text)
        tokens = rng.normal(size=(rng.integers(1, 20), LATE_DIM)).astype(np.float32)
        made.append(
            IndexedPassage(
                id=f"p{i}",
                document_id=f"d{i}",
                title="",
                text=text,
                start=0,
                end=len(text),
                metadata={"kind": f"k{i % 2}"},
                filters={"k0_text": [f"k{i % 2}"]},
                vector=rng.normal(size=DIM).astype(np.float32),
                sparse=SparseVector(sparse.indices, sparse.values * rng.uniform(0.9, 1.1)),
                tokens=tokens / np.linalg.norm(tokens, axis=1, keepdims=True),
            )
        )
    return made


def queries() -> list[IndexQuery]:
    rng = np.random.default_rng(1)
    bm25 = BM25(Tokenizer("none"), 12.0)
    return [
        IndexQuery(
            limit=10,
            dense=rng.normal(size=DIM).astype(np.float32),
            sparse=bm25.query(f"word{i} word{i + 1} word{i + 2}"),
            fused=True,
            prefetch=30,
            tokens=rng.normal(size=(5, LATE_DIM)).astype(np.float32),
            filter=Match("filters.k0_text", ("k1",)) if i % 2 else None,
        )
        for i in range(12)
    ]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[VectorIndex]]:
    url = os.environ.get("CATENA_QDRANT_URL")
    client = connect(IndexConfig(engine="server", url=url)) if url else QdrantClient(":memory:")
    config, collection = IndexConfig(), f"catena-test-{uuid4().hex[:8]}"
    edge = EdgeIndex.create(tmp_path_factory.mktemp("edge") / "index", DIM, KEYS, config, LATE_DIM)
    server = ServerIndex.create(client, collection, DIM, KEYS, config, LATE_DIM)
    for index in (edge, server):
        index.upsert(passages())
        index.finish()
    yield [edge, server]
    edge.close()
    client.delete_collection(collection)
    client.close()


def test_both_engines_score_the_fused_list_by_maxsim(engines: list[VectorIndex]) -> None:
    stored = {passage.id: passage for passage in passages()}
    for index in (FusedIndex(engine, Fusion()) for engine in engines):
        # Its best 30 passages, in their order without the rescoring.
        fused = index.query_batch([replace(query, tokens=None, limit=30) for query in queries()])
        for query, candidates, hits in zip(queries(), fused, index.query_batch(queries()), strict=True):
            assert len(hits) == 10 and len(candidates) == 30
            assert query.tokens is not None
            tokens = [stored[hit.passage_id].tokens for hit in candidates]
            starts = np.concatenate([[0], np.cumsum([len(t) for t in tokens if t is not None])])
            # The engine keeps float16; the in-memory client keeps what it is given.
            whole = np.concatenate([t for t in tokens if t is not None])
            (scores,) = maxsim(query.tokens, np.array([0, 5]), whole, starts)
            best = np.sort(scores)[::-1][:10]
            np.testing.assert_allclose([hit.score for hit in hits], best, rtol=2e-3)
            by_id = dict(zip([hit.passage_id for hit in candidates], scores, strict=True))
            np.testing.assert_allclose([by_id[hit.passage_id] for hit in hits], best, rtol=2e-3)
            if query.filter:
                assert {hit.payload["metadata"]["kind"] for hit in hits} == {"k1"}


def test_token_vectors_are_asked_about_passages_that_are_named(engines: list[VectorIndex]) -> None:
    query = IndexQuery(5, tokens=np.ones((1, LATE_DIM), np.float32))
    with pytest.raises(ValueError, match="passages that are named"):
        engines[0].query_batch([query])


def test_an_index_without_them_stays_as_it_was(tmp_path: Path) -> None:
    index = EdgeIndex.create(tmp_path / "index", DIM, (), IndexConfig())
    index.upsert([replace(passage, tokens=None) for passage in passages()])
    index.finish()
    assert index.count() == COUNT
    index.close()
