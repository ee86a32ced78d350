"""An index with a live part finds what an index of everything finds: random writes, all modes, both engines."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient

from data.errors import InputError
from data.lexical import BM25, SparseVector, Tokenizer
from data.vectors.projection import truncation
from retrieval.clauses import Match
from retrieval.config import IndexConfig, Mode
from retrieval.engines.edge import EdgeIndex
from retrieval.engines.server import ServerIndex, connect
from retrieval.explain import explain
from retrieval.filter_keys import FilterKey
from retrieval.fused import FusedIndex
from retrieval.fusion import fuse
from retrieval.index import Hit, IndexedPassage, IndexMeta, IndexQuery, VectorIndex, point_id
from retrieval.live import LiveIndex
from retrieval.query import SearchQuery
from retrieval.rescoring import RescoredIndex, with_rows
from retrieval.search import Retriever
from retrieval.terms import TermCounts, TermStatistics
from retrieval.weights import Fusion

pytestmark = [  # what the in-memory client says of itself
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

DIM, LATE_DIM, DOCUMENTS = 16, 8, 100
KEYS = (FilterKey(path=("kind",), kinds=("text",)),)
CONFIG = IndexConfig(prefetch=20, batch_points=50)
FUSION = Fusion(weights={"dense": 0.3, "bm25": 0.7})
BM25_WEIGHTS = BM25(Tokenizer("none"), 12.0)


def document(id_: str, rng: np.random.Generator, passages: int = 2) -> list[IndexedPassage]:
    """The passages of a document with a random text, vector and tokens."""
    made = []
    for number in range(passages):
        text = " ".join(f"word{j}" for j in rng.integers(0, 40, rng.integers(3, 20)))
        sparse = BM25_WEIGHTS.passage(text)
        vector, tokens = rng.normal(size=DIM), rng.normal(size=(rng.integers(1, 9), LATE_DIM))
        kind = f"k{rng.integers(3)}"
        made.append(
            IndexedPassage(
                id=f"{id_}/{number}",
                document_id=id_,
                title=id_,
                text=text,
                start=number,
                end=number + 1,
                metadata={"kind": kind},
                filters={"k0_text": [kind]},
                vector=(vector / np.linalg.norm(vector)).astype(np.float32),
                sparse=SparseVector(sparse.indices, sparse.values * np.float32(rng.uniform(0.9, 1.1))),
                tokens=(tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float32),
            )
        )
    return made


def flat(documents: dict[str, list[IndexedPassage]]) -> list[IndexedPassage]:
    return [passage for passages in documents.values() for passage in passages]


class Both:
    """A live index, and what it should hold."""

    def __init__(self, folder: Path, base: VectorIndex, corpus: dict[str, list[IndexedPassage]]) -> None:
        self.folder, self.documents = folder, dict(corpus)
        counts = TermCounts()
        points = len(list(counts.of(flat(corpus))))
        counts.write(folder)
        self.meta = IndexMeta(
            config=CONFIG,
            location="",
            points=points,
            dim=DIM,
            encoder="e",
            precision="fp32",
            mean_length=12.0,
            filter_keys=KEYS,
            late_dim=LATE_DIM,
        )
        self.terms = TermStatistics(folder)
        live = EdgeIndex.create(folder / "live", DIM, KEYS, CONFIG, LATE_DIM, idf=False)
        self.index = LiveIndex(base, self.meta, live, self.terms)

    def put(self, documents: dict[str, list[IndexedPassage]]) -> None:
        self.index.upsert(flat(documents))
        self.documents.update(documents)

    def delete(self, ids: Sequence[str]) -> None:
        self.index.delete(ids)
        self.documents = {id_: passages for id_, passages in self.documents.items() if id_ not in ids}

    def whole(self, name: str, idf: bool) -> EdgeIndex:
        """An index of everything that there is now."""
        index = EdgeIndex.create(self.folder / name, DIM, KEYS, CONFIG, LATE_DIM, idf=idf)
        index.upsert(flat(self.documents))
        index.finish()
        return index


@pytest.fixture(params=["edge", "server"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    rng = np.random.default_rng(0)
    corpus = {f"d{i}": document(f"d{i}", rng) for i in range(DOCUMENTS)}
    base: VectorIndex
    if request.param == "edge":
        base = EdgeIndex.create(tmp_path / "base", DIM, KEYS, CONFIG, LATE_DIM)
    else:
        url = os.environ.get("CATENA_QDRANT_URL")
        client = connect(IndexConfig(engine="server", url=url)) if url else QdrantClient(":memory:")
        base = ServerIndex.create(client, f"catena-test-{uuid4().hex[:8]}", DIM, KEYS, CONFIG, LATE_DIM)
    base.upsert(flat(corpus))
    base.finish()
    yield Both(tmp_path, base, corpus)
    if request.param == "server":
        client.delete_collection(base._collection)  # type: ignore[attr-defined]
    base.close()


def change(both: Both, seed: int = 1) -> None:
    """New documents, other texts under known ids, deletions, and some of them taken back."""
    rng = np.random.default_rng(seed)
    both.put({f"d{i}": document(f"d{i}", rng, int(rng.integers(1, 4))) for i in range(20, 40)})
    both.put({f"new{i}": document(f"new{i}", rng) for i in range(15)})
    both.delete([*(f"d{i}" for i in range(30, 60)), "new3", "nobody"])
    both.put({"d31": document("d31", rng), "new4": document("new4", rng, 1)})


def questions(limit: int = 12) -> list[IndexQuery]:
    rng = np.random.default_rng(5)
    made = []
    for i in range(30):
        vector = rng.normal(size=DIM)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        sparse = BM25_WEIGHTS.query(f"word{rng.integers(40)} word{rng.integers(40)} unheard")
        kind = Match("filters.k0_text", ("k1",)) if i % 2 else None
        made.append(IndexQuery(limit, vector, sparse, fused=True, prefetch=20, filter=kind))
    return made


def dense(queries: Sequence[IndexQuery]) -> list[IndexQuery]:
    return [replace(query, sparse=None, fused=False) for query in queries]


def words(queries: Sequence[IndexQuery], terms: TermStatistics | None = None) -> list[IndexQuery]:
    made = [replace(query, dense=None, fused=False) for query in queries]
    if terms is None:
        return made
    sparse = [query.sparse for query in made if query.sparse is not None]
    return [
        replace(query, sparse=SparseVector(one.indices, one.values * terms.idf(one.indices)))
        for query, one in zip(made, sparse, strict=True)
    ]


def same(ours: list[list[Hit]], theirs: list[list[Hit]], rtol: float = 1e-5) -> None:
    assert any(ours)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose([hit.score for hit in a], [hit.score for hit in b], rtol=rtol)
        assert [(hit.passage_id, hit.payload) for hit in a] == [(hit.passage_id, hit.payload) for hit in b]


def as_fused(found: list[list[Hit]], expected: list[list[tuple[int, float]]]) -> None:
    assert any(found)
    for hits, best in zip(found, expected, strict=True):
        assert [hit.key for hit in hits] == [key for key, _ in best]
        np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in best], rtol=1e-5, atol=1e-6)


def test_vectors_find_exactly_what_a_new_index_finds(both: Both) -> None:
    change(both)
    queries = dense(questions())
    found, expected = both.index.query_batch(queries), both.whole("whole", idf=True).query_batch(queries)
    same(found, expected, rtol=1e-6)
    assert any("new" in hit.passage_id for hits in found for hit in hits)


def test_words_weigh_what_they_weigh_in_the_index(both: Both) -> None:
    change(both)
    same(
        both.index.query_batch(words(questions())),
        both.whole("whole", idf=False).query_batch(words(questions(), both.terms)),
    )


def test_lists_are_fused_after_they_are_merged(both: Both) -> None:
    change(both)
    whole = both.whole("whole", idf=False)
    lists = [
        whole.query_batch([replace(query, limit=20) for query in queries])
        for queries in (dense(questions()), words(questions(), both.terms))
    ]
    found = FusedIndex(both.index, FUSION).query_batch(questions())
    as_fused(found, [fuse({"dense": a, "bm25": b}, FUSION, 20)[:12] for a, b in zip(*lists, strict=True)])
    stored = {passage.id: passage.text for passage in flat(both.documents)}
    assert all(hit.payload["text"] == stored[hit.passage_id] for hits in found for hit in hits)


def test_token_vectors_rescore_what_was_fused_of_both(both: Both) -> None:
    change(both)
    rng = np.random.default_rng(6)
    tokens = [rng.normal(size=(4, LATE_DIM)).astype(np.float32) for _ in questions()]
    queries = [replace(query, tokens=one) for query, one in zip(questions(), tokens, strict=True)]
    whole = both.whole("whole", idf=False)
    index = FusedIndex(both.index, FUSION)
    candidates = index.query_batch([replace(query, tokens=None, limit=20) for query in queries])
    asked = [
        IndexQuery(12, tokens=one, among=tuple(hit.key for hit in hits))
        for one, hits in zip(tokens, candidates, strict=True)
    ]
    same(index.query_batch(queries), whole.query_batch(asked), rtol=2e-3)


def test_it_looks_deeper_where_the_best_are_gone(both: Both) -> None:
    (query,) = dense(questions()[:1])
    best = both.index.query_batch([replace(query, limit=150)])[0]
    gone = list(dict.fromkeys(hit.payload["document_id"] for hit in best))[:60]
    both.delete(gone)
    (found,) = both.index.query_batch([query])
    assert [hit.passage_id for hit in found] == [h.passage_id for h in best if h.payload["document_id"] not in gone][
        :12
    ]


def test_without_writes_the_index_answers_as_it_is(both: Both) -> None:
    indexes = both.index, both.whole("whole", idf=True)
    same(*(FusedIndex(index, FUSION).query_batch(questions()) for index in indexes))


def test_everything_can_be_deleted(both: Both) -> None:
    corpus = both.documents
    both.delete(list(corpus))
    assert FusedIndex(both.index, FUSION).query_batch(questions()) == [[] for _ in questions()]
    assert both.index.payloads([point_id(passage.id) for passage in flat(corpus)]) == {}


def test_engines_remove_documents_with_all_their_passages(both: Both) -> None:
    index: VectorIndex = both.index._base
    index.delete(["d3", "d4", "nobody"])
    index.finish()
    assert index.count() == 2 * DOCUMENTS - 4
    (hits,) = index.query_batch([replace(dense(questions())[0], limit=2 * DOCUMENTS, filter=None)])
    assert not {"d3", "d4"} & {hit.payload["document_id"] for hit in hits}


@pytest.mark.parametrize("empty", [0, 3], ids=["words", "some without words"])
def test_the_weight_of_a_word_is_the_engines_own(tmp_path: Path, empty: int) -> None:
    rng = np.random.default_rng(2)
    passages = flat({f"d{i}": document(f"d{i}", rng) for i in range(20)})
    nothing = SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))
    passages[:empty] = [replace(passage, sparse=nothing) for passage in passages[:empty]]
    index = EdgeIndex.create(tmp_path / "index", DIM, KEYS, CONFIG)
    index.upsert([replace(passage, tokens=None) for passage in passages])
    index.finish()
    counts = TermCounts()
    assert len(list(counts.of(passages))) == 40
    counts.write(tmp_path)
    terms = TermStatistics(tmp_path)
    for word in range(40):
        query = BM25_WEIGHTS.query(f"word{word}")
        (hits,) = index.query_batch([IndexQuery(50, sparse=query)])
        by_id = {passage.id: passage for passage in passages}
        for hit in hits:
            sparse = by_id[hit.passage_id].sparse
            weight = sparse.values[sparse.indices == query.indices[0]][0]
            assert hit.score == pytest.approx(float(weight * terms.idf(query.indices)[0]), rel=1e-5)


def test_counts_are_those_of_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    passages = flat({f"d{i}": document(f"d{i}", rng) for i in range(50)})
    written = []
    for gathered in (1, 100, 10**6):
        monkeypatch.setattr("retrieval.terms._GATHERED", gathered)
        counts = TermCounts()
        assert len(list(counts.of(passages))) == 100
        counts.write(tmp_path)
        written.append(np.load(tmp_path / "terms.npy"))
    terms, held = written[0][:, 1:]
    assert written[0][:, 0].tolist() == [0, 100]
    assert all(np.array_equal(one, written[0]) for one in written)
    assert list(terms) == sorted(set(terms))
    assert held.sum() == sum(len(passage.sparse.indices) for passage in passages)


def test_an_index_that_lost_its_counts_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has lost its file terms\.npy"):
        TermStatistics(tmp_path)


def test_full_vectors_order_both_parts(tmp_path: Path) -> None:
    """An index of half the dimensions that is rescored; its live part has the full vectors."""
    rng = np.random.default_rng(8)
    corpus = {f"d{i}": document(f"d{i}", rng) for i in range(DOCUMENTS)}
    full = np.stack([passage.vector for passage in flat(corpus)])
    projection = truncation("full", DIM, DIM // 2)
    config = CONFIG.model_copy(update={"rescore": 50})
    small = EdgeIndex.create(tmp_path / "base", DIM // 2, KEYS, config, LATE_DIM)
    vectors = projection(full)
    small.upsert([replace(p, vector=v) for p, v in zip(with_rows(flat(corpus)), vectors, strict=True)])
    small.finish()
    both = Both(tmp_path, RescoredIndex(small, full, projection, config.rescore), corpus)
    change(both)
    whole = both.whole("whole", idf=False)
    found, expected = both.index.query_batch(dense(questions())), whole.query_batch(dense(questions()))
    for ours, theirs in zip(found, expected, strict=True):
        assert [hit.passage_id for hit in ours] == [hit.passage_id for hit in theirs]
        np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in theirs], rtol=1e-5)
    lists = [
        whole.query_batch([replace(query, limit=20) for query in queries])
        for queries in (dense(questions()), words(questions(), both.terms))
    ]
    hybrid = FusedIndex(both.index, FUSION).query_batch(questions())
    as_fused(hybrid, [fuse({"dense": a, "bm25": b}, FUSION, 20)[:12] for a, b in zip(*lists, strict=True)])
    assert all(hit.payload["text"] for hits in hybrid for hit in hits)
    both.index.close()


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25", "late"])
def test_reasons_are_of_what_is_found_with_the_live_part(both: Both, mode: Mode) -> None:
    rng = np.random.default_rng(5)
    both.put({id_: document(id_, rng) for id_ in ("d3", "new", "d7")})
    both.delete(["d9"])
    retriever = Retriever(both.index, both.meta)
    for number in range(5):
        vector, tokens = rng.normal(size=DIM), rng.normal(size=(4, LATE_DIM)).astype(np.float32)
        dense = (vector / np.linalg.norm(vector)).astype(np.float32)
        query = SearchQuery(f"word{number} word{number + 20}", mode, 12)
        asked = None if mode == "bm25" else dense, tokens if mode == "late" else None
        (found,) = retriever.answer([query], [asked[0]], [asked[1]])
        why = explain(retriever, query, *asked)
        assert [one.hit.passage_id for one in why] == [hit.passage_id for hit in found]
        assert [one.hit.score for one in why] == pytest.approx([hit.score for hit in found])
        for one in why:
            assert mode == "late" or sum(place.contribution for place in one.lists) == pytest.approx(one.hit.score)
