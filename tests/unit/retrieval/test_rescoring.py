"""Rescoring: smaller vectors find, the embedding's own put in order, with nothing but the index's own folder."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from qdrant_client import QdrantClient

from data.embedding.reduce import ReducePartition
from data.encoders import load_encoder
from data.encoders.config import HashedConfig, HashedEncoderConfig
from data.errors import InputError
from data.lexical import BM25, Tokenizer
from data.partitions import partition_name, partitions, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.text import passage_text
from data.schema import DOCUMENTS
from data.vectors.projection import PROJECTION, Projection, random_projection
from data.vectors.quantise import Floats, decode, encode
from data.vectors.table import vector_column, write_table
from retrieval.build import build_index
from retrieval.clauses import Match
from retrieval.config import IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.engines.server import ServerIndex
from retrieval.filter_keys import FilterKey
from retrieval.fused import FusedIndex
from retrieval.index import IndexedPassage, IndexQuery, VectorIndex
from retrieval.open import open_index, read_meta
from retrieval.query import SearchQuery
from retrieval.rescoring import FULL_VECTORS, RescoredIndex, with_rows
from retrieval.search import open_retriever
from retrieval.weights import Fusion
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.index import IndexActor

pytestmark = [  # what the in-memory client says of itself
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

DIM, COUNT, LIMIT = 16, 120, 10
KEYS = (FilterKey(path=("kind",), kinds=("text",)),)
WORDS = [f"word{i}" for i in range(30)]
TOKENIZED = BM25(Tokenizer("none"), 8.0)
PROJECTIONS = [None, random_projection("whole", DIM, 8, seed=0)]


def unit(count: int, seed: int) -> Floats:
    raw = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


FULL, QUESTIONS = unit(COUNT, 0), unit(12, 1)


def passages(vectors: Floats, late: bool = False) -> Iterator[IndexedPassage]:
    rng = np.random.default_rng(2)
    for i, vector in enumerate(vectors):
        text = " ".join(rng.choice(WORDS, size=8))
        tokens = rng.standard_normal((3, 4)).astype(np.float32) if late else None
        parts = {
            "title": "",
            "text": text,
            "start": 0,
            "end": len(text),
            "metadata": {"kind": f"k{i % 2}"},
            "filters": {"k0_text": [f"k{i % 2}"]},
        }
        sparse = TOKENIZED.passage(text)
        sparse = sparse._replace(values=sparse.values * rng.uniform(0.9, 1.1))  # equal scores have no one rank
        yield IndexedPassage(f"p{i}", f"d{i}", vector=vector, sparse=sparse, tokens=tokens, **parts)  # type: ignore[arg-type]


@pytest.fixture(params=["edge", "server"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorIndex]:
    """An index of bits in each engine."""
    client = QdrantClient(":memory:")
    index: VectorIndex
    if request.param == "edge":
        index = EdgeIndex.create(tmp_path / "index", DIM, KEYS, IndexConfig())
    else:
        index = ServerIndex.create(client, "passages", DIM, KEYS, IndexConfig())
    index.upsert(list(with_rows(passages(decode(encode(FULL, "binary"), "binary")))))
    index.finish()
    yield index
    index.close()


def order_of(question: Floats, among: range = range(COUNT)) -> list[str]:
    cosines = FULL @ question
    return [f"p{i}" for i in sorted(among, key=lambda i: -cosines[i])][:LIMIT]


def rescored(index: VectorIndex, factor: int, projection: Projection | None = None) -> RescoredIndex:
    return RescoredIndex(index, FULL, projection, factor)


def test_bits_find_and_floats_put_in_order(filled: VectorIndex) -> None:
    queries = [IndexQuery(LIMIT, question) for question in QUESTIONS]
    ids = [[hit.passage_id for hit in hits] for hits in filled.query_batch(queries)]
    expected = [order_of(question) for question in QUESTIONS]
    assert all(found != exact for found, exact in zip(ids, expected, strict=True))
    for question, hits, exact in zip(
        QUESTIONS, rescored(filled, COUNT // LIMIT).query_batch(queries), expected, strict=True
    ):
        assert [hit.passage_id for hit in hits] == exact
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(FULL @ question)[::-1][:LIMIT], atol=1e-6)
    for found, hits in zip(ids, rescored(filled, 1).query_batch(queries), strict=True):  # no others, in their order
        assert sorted(hit.passage_id for hit in hits) == sorted(found)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_filters_hold_and_words_alone_stay_as_they_were(filled: VectorIndex) -> None:
    index = rescored(filled, COUNT)
    (hits,) = index.query_batch([IndexQuery(LIMIT, QUESTIONS[0], filter=Match("filters.k0_text", ("k1",)))])
    assert [hit.passage_id for hit in hits] == order_of(QUESTIONS[0], range(1, COUNT, 2))
    assert index.query_batch([IndexQuery(LIMIT, QUESTIONS[0], filter=Match("filters.k0_text", ("none",)))]) == [[]]
    words = [IndexQuery(LIMIT, sparse=TOKENIZED.query("word3 word4"))]
    assert index.query_batch(words) == filled.query_batch(words)


def test_fused_lists_are_those_of_an_index_of_full_vectors(filled: VectorIndex, tmp_path: Path) -> None:
    whole = EdgeIndex.create(tmp_path / "whole", DIM, KEYS, IndexConfig())
    whole.upsert(list(passages(FULL)))
    whole.finish()
    queries = [
        IndexQuery(LIMIT, question, TOKENIZED.query(f"word{i} word{i + 1}"), fused=True, prefetch=30)
        for i, question in enumerate(QUESTIONS)
    ]
    queries.append(IndexQuery(LIMIT, QUESTIONS[0], fused=True, prefetch=30))  # no word of it is known
    indexes = (FusedIndex(index, Fusion()) for index in (whole, rescored(filled, 4)))
    for expected, hits in zip(*(index.query_batch(queries) for index in indexes), strict=True):
        assert [hit.passage_id for hit in hits] == [hit.passage_id for hit in expected]
        np.testing.assert_allclose([hit.score for hit in hits], [hit.score for hit in expected], rtol=1e-5)
    whole.close()


@pytest.mark.parametrize("projection", PROJECTIONS, ids=["all dimensions", "fewer"])
def test_token_vectors_score_what_full_vectors_and_words_find(projection: Projection | None, tmp_path: Path) -> None:
    smaller = FULL if projection is None else projection(FULL)
    late = EdgeIndex.create(tmp_path / "late", smaller.shape[1], (), IndexConfig(), 4)
    late.upsert(list(with_rows(passages(smaller, late=True))))
    late.finish()
    query = IndexQuery(LIMIT, QUESTIONS[0], TOKENIZED.query("word1"), True, 20, np.ones((2, 4), np.float32))
    index = FusedIndex(rescored(late, COUNT // 20, projection), Fusion())
    (candidates,) = index.query_batch([replace(query, tokens=None, limit=20)])
    (hits,) = index.query_batch([query])
    among = tuple(hit.key for hit in candidates)
    assert [hits] == late.query_batch([IndexQuery(LIMIT, tokens=query.tokens, among=among)]) and hits
    late.close()


HASHED = HashedEncoderConfig(hashed=HashedConfig(dim=64))
TEXTS = [f"{a} {b} {c}" for a in ("moon", "sea", "hill") for b in ("red", "old", "wet") for c in ("cat", "ship", "oak")]


def write_run(root: Path, fewer: bool) -> Path:
    """Documents, passages, vectors in two partitions and bits of them, under ``root``."""
    rows = [{"id": f"d{i}", "title": "", "text": text, "metadata": None} for i, text in enumerate(TEXTS)]
    for name in ("documents", "vectors", "reduced/vectors", "index"):
        (root / name).mkdir(parents=True)
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), root / "documents" / partition_name(0))
    chunk(root / "documents", ChunkConfig(partition_rows=14), root)
    encoder = load_encoder(HASHED)
    projection = random_projection(encoder.fingerprint, encoder.dim, 32, seed=0) if fewer else None
    for path in partitions(root / "passages"):
        table = pq.read_table(path)
        vectors = encoder.encode([passage_text(row["title"], row["text"]) for row in table.to_pylist()])
        field, column = vector_column(vectors, "float16")
        made = pa.table([table["id"], column], pa.schema([pa.field("id", pa.string()), field]))
        write_table(made.replace_schema_metadata({"encoder": encoder.fingerprint}), root / "vectors" / path.name)
        ReducePartition(projection, "binary", root / "reduced" / "vectors")(root / "vectors" / path.name)
    described = {"dim": encoder.dim, "fingerprint": encoder.fingerprint, "precision": encoder.precision}
    (root / "manifest.json").write_text(json.dumps(described))
    if projection is not None:
        projection.save(root / "reduced" / PROJECTION)
        described |= {"dim": projection.dim, "fingerprint": projection.fingerprint}
    (root / "reduced" / "manifest.json").write_text(json.dumps(described))
    return root


def build(root: Path) -> Path:
    config = IndexConfig(rescore=20)
    build_index(root / "documents", root / "passages", root / "reduced", config, root / "index", full=root)
    return root / "index"


@pytest.mark.parametrize("fewer", [False, True], ids=["bits", "bits of fewer dimensions"])
def test_search_and_service_need_the_indexs_folder_alone(tmp_path: Path, fewer: bool) -> None:
    artifact = tmp_path / "elsewhere"
    shutil.move(build(write_run(tmp_path / "run", fewer)), artifact)
    shutil.rmtree(tmp_path / "run")
    question = "an old ship at sea"
    encoder = load_encoder(HASHED)
    exact = encoder.encode(TEXTS).astype(np.float16) @ encoder.encode_queries([question])[0]
    retriever = open_retriever(artifact, HASHED)
    (hits,) = retriever.search([question], mode="dense", top_k=5)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(exact)[::-1][:5], atol=1e-5)
    assert hits[0].document_id == f"d{TEXTS.index('sea old ship')}"
    (hybrid,) = retriever.search([question], top_k=5)
    assert hybrid[0].document_id == hits[0].document_id
    retriever.index.close()

    embedder = Embedder(HASHED, read_meta(artifact), ServeConfig())

    async def ask() -> object:
        actor = IndexActor(artifact)
        return await actor.search(SearchQuery(question, "dense", 5), await embedder.encode(question))

    assert asyncio.run(ask()) == hits


def test_what_does_not_belong_together_is_told(tmp_path: Path) -> None:
    root = write_run(tmp_path, fewer=False)
    (build(root) / FULL_VECTORS).unlink()
    with pytest.raises(InputError, match="has lost its file full_vectors"):
        open_index(root / "index")
    with pytest.raises(InputError, match="built by another encoder"):
        open_retriever(root / "index", HashedEncoderConfig(hashed=HashedConfig(dim=128)))
    reduced = root / "reduced"
    with pytest.raises(ValueError, match="both or neither"):
        build_index(root / "documents", root / "passages", reduced, IndexConfig(rescore=2), root / "index")
    (root / "vectors" / partition_name(1)).unlink()
    with pytest.raises(InputError, match="is not made from"):
        build(root)
