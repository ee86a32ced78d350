"""Both engines, given the same random passages and questions, find the same.

The server's side is Qdrant's in-memory client, or the server at ``CATENA_QDRANT_URL`` where that is set.
"""

import json
import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient

from data.lexical import BM25, SparseVector, Tokenizer
from data.metadata import Metadata
from retrieval.clauses import clause
from retrieval.config import IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.engines.server import ServerIndex, connect
from retrieval.filter_keys import FilterValues, filter_keys
from retrieval.filters import parse_filter
from retrieval.fused import FusedIndex
from retrieval.index import Hit, IndexedPassage, IndexQuery, Payload, VectorIndex, point_id
from retrieval.weights import Fusion

pytestmark = [  # what the in-memory client says of itself
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

DIM = 16
WORDS = [f"word{i}" for i in range(60)]


COUNT = 400
BIG = 2**62 + 1
TAGS = ["a", "b", "c\nd", 'e"f', "ö", "true", "7"]
TIMES = ["1999-12-31", "2024-01-02T10:00:00Z", "2024-01-02T12:00:00+02:00", "2024-01-02 10:00:00.25", "0001-01-01"]


def random_metadata(count: int, seed: int = 0) -> list[Metadata]:
    """Values of every kind, missing ones, lists, nested keys, keys in quotes, texts that are numbers or times."""
    rng = np.random.default_rng(seed + 100)

    def some(values: Sequence[Any]) -> Any:  # noqa: ANN401
        return values[rng.integers(len(values))]

    made: list[Metadata] = []
    for i in range(count):
        one: Metadata = {"kind": f"k{i % 4}", "a.b": some(TAGS), "number": some([*range(-2, 6), BIG])}
        one["cell"] = some(["1990", "1999.5", "-3", "0", "2000"])  # as a CSV file has it
        one["code"] = some(["007", "7", "x"])
        one["price"] = some([0.5, 1, 1e39, -2.25])
        one["mixed"] = some([5, "5", "five", True, [5, "five"], 2.5])
        one["when"] = [some(TIMES) for _ in range(rng.integers(1, 3))]
        one["author"] = {
            "name": some(["Ann", "Bo"]),
            "works": [{"year": int(some(range(1990, 2000)))} for _ in range(2)],
        }
        one["draft"] = bool(rng.integers(2))
        one["not"] = some(TAGS)
        for key in [key for key in one if rng.random() < 0.2]:
            del one[key]
        made.append(one)
    return made


KEYS = filter_keys(random_metadata(COUNT))
FILTER_VALUES = FilterValues(KEYS)


def random_filter(rng: np.random.Generator, depth: int = 0) -> dict[str, Any]:
    """A filter in its JSON form, with one to three conditions, some of them under `not`."""

    def some(values: Sequence[Any]) -> Any:  # noqa: ANN401
        return values[rng.integers(len(values))]

    def either(values: Sequence[Any]) -> Any:  # noqa: ANN401
        return some(values) if rng.random() < 0.5 else [some(values) for _ in range(rng.integers(1, 4))]

    def bounds(values: Sequence[Any]) -> Any:  # noqa: ANN401
        given = {name: some(values) for name in ("gt", "gte", "lt", "lte") if rng.random() < 0.4}
        return given or {"gte": some(values)}

    works = "author.works.year"
    conditions: list[tuple[str, Any]] = [
        ("kind", either(["k0", "k1", "none"])),
        ("a.b", either(TAGS)),
        ("number", either([0, 1.0, "2", 2.5, -2, BIG])),
        ("number", bounds([-1, 0.5, 3, "4"])),
        ("cell", either(["1990", 1999.5, "-3"])),
        ("cell", bounds([1990, "1999.5", -3.5])),
        ("code", either(["007", 7, "x"])),
        ("price", either([0.5, "1", 1e39])),
        ("price", bounds([0, 0.5, 1e38, -2.25])),
        ("mixed", either([5, "5", "five", True, 2.5])),
        ("mixed", bounds([2, 5, 6])),
        ("when", either(TIMES)),
        ("when", bounds(TIMES)),
        (works, either(range(1990, 2000))),
        (works, bounds(range(1990, 2000))),
        ("author.name", either(["Ann", "Cy"])),
        ("draft", either([True, "false"])),
        ('"not"', either(TAGS)),
        ("document_id", either([f"doc/{i}" for i in range(9)])),
        (some(["kind", "price", works, "mixed", "when", '"not"']), {"exists": bool(rng.integers(2))}),
    ]
    made: dict[str, Any] = dict(some(conditions) for _ in range(rng.integers(1, 4)))
    if depth < 2 and rng.random() < 0.3:
        made["not"] = random_filter(rng, depth + 1)
    return made


def holds(filter_: dict[str, Any], metadata: Metadata) -> bool:
    """The oracle: a filter read plainly, on metadata as JSON has it."""
    return all(
        not holds(asked, metadata) if key == "not" else one_holds(key, asked, metadata)
        for key, asked in filter_.items()
    )


def one_holds(key: str, asked: Any, metadata: Metadata) -> bool:  # noqa: ANN401
    path = [key] if key in ("a.b", "document_id") else key.strip('"').split(".")
    found = values_at(metadata, path)
    if not isinstance(asked, dict):
        every = asked if isinstance(asked, list) else [asked]
        return any(equal(value, one, key) for value in found for one in every)
    if "exists" in asked:
        return bool(found) == asked["exists"]
    signs = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
    read = [comparable(value, key) for value in found if not isinstance(value, bool)]
    return any(
        all(signs[name](value, comparable(bound, key)) for name, bound in asked.items())
        for value in read
        if not isinstance(value, str)
    )


def values_at(value: Any, path: list[str]) -> list[Any]:  # noqa: ANN401
    if isinstance(value, list):
        return [found for member in value for found in values_at(member, path)]
    if not path:
        return [value]
    return values_at(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


def comparable(value: Any, key: str) -> Any:  # noqa: ANN401
    if key == "when":
        time = datetime.fromisoformat(value)
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    return float(value) if key in ("cell", "number", "price") else value


def equal(value: Any, asked: Any, key: str) -> bool:  # noqa: ANN401
    """Whether a value is the one asked for: a text may mean any type, of other types the type counts."""
    if key == "when":
        return bool(comparable(value, key) == comparable(asked, key))
    if key in ("cell", "price"):
        return float(value) == float(asked)
    if key == "code":
        return bool(value == str(asked))
    if isinstance(asked, str):
        return bool(value == asked) if isinstance(value, str) else json.dumps(value) in (asked, f"{asked}.0")
    return bool(value == asked) and isinstance(value, bool) == isinstance(asked, bool)


def random_passages(count: int, seed: int = 0) -> list[IndexedPassage]:
    rng = np.random.default_rng(seed)
    bm25 = BM25(Tokenizer("none"), 12.0)
    frequency = 1 / np.arange(1, len(WORDS) + 1)
    metadata = random_metadata(count, seed)
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
                metadata=metadata[i],
                filters=FILTER_VALUES(metadata[i]),
                vector=vector / np.linalg.norm(vector),
                sparse=SparseVector(sparse.indices, sparse.values * rng.uniform(0.9, 1.1)),
            )
        )
    return passages


def random_queries(count: int, filters: bool, seed: int = 1) -> dict[str, list[IndexQuery]]:
    rng = np.random.default_rng(seed)
    bm25 = BM25(Tokenizer("none"), 12.0)
    queries: dict[str, list[IndexQuery]] = {"dense": [], "bm25": [], "hybrid": []}
    for _ in range(count):
        vector = rng.normal(size=DIM).astype(np.float32)
        vector /= np.linalg.norm(vector)
        sparse = bm25.query(" ".join(rng.choice(WORDS, size=3)))
        filter_ = clause(parse_filter(random_filter(rng)), KEYS) if filters else None
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
    passages = random_passages(COUNT)
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
    np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], rtol=2e-5, atol=1e-6)
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
    queries = random_queries(120 if filters else 40, filters)[mode]
    edge, server = (FusedIndex(index, Fusion()).query_batch(queries) for index in engines)
    assert any(edge)
    for query, ours, theirs in zip(queries, edge, server, strict=True):
        assert_same(ours, theirs, query.limit)


def test_filters_let_through_what_a_plain_reading_of_them_does(engines: list[VectorIndex]) -> None:
    """Every passage of which the oracle says that the filter holds, and no other."""
    rng = np.random.default_rng(3)
    metadata = [{**one, "document_id": f"doc/{i // 3}"} for i, one in enumerate(random_metadata(COUNT))]
    vector = np.eye(DIM, dtype=np.float32)[0]
    given = [random_filter(rng) for _ in range(200)]
    queries = [IndexQuery(COUNT, dense=vector, filter=clause(parse_filter(filter_), KEYS)) for filter_ in given]
    sizes = set()
    for index in engines:
        for filter_, hits in zip(given, index.query_batch(queries), strict=True):
            expected = {
                f"p{i}" for i in range(COUNT) if holds(filter_, {**metadata[i], "document_id": f"doc/{i // 3}"})
            }
            assert {hit.passage_id for hit in hits} == expected, filter_
            sizes.add(len(expected))
    assert len(sizes) > 50, "the filters differ little"


def test_integers_are_told_apart_beyond_the_precision_of_floats(engines: list[VectorIndex]) -> None:
    vector = np.eye(DIM, dtype=np.float32)[0]
    for index in engines:
        for big, expected in ((BIG, True), (BIG - 1, False)):
            filter_ = clause(parse_filter({"number": big}), KEYS)
            (hits,) = index.query_batch([IndexQuery(COUNT, dense=vector, filter=filter_)])
            assert bool(hits) is expected


def test_payloads_are_those_of_hits(engines: list[VectorIndex]) -> None:
    queries = random_queries(3, filters=False)["dense"]
    for index in engines:
        stored = {hit.key: hit.payload for hits in index.query_batch(queries) for hit in hits}
        assert index.payloads([*stored, point_id("nobody")]) == stored


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


def test_a_batch_brings_what_each_question_brings_alone(tmp_path: Path) -> None:
    """Payloads of a batch are handed over once for all; each question gets as much of them as it asked for."""
    index = EdgeIndex.create(tmp_path / "index", DIM, KEYS, IndexConfig())
    index.upsert(random_passages(60))
    index.finish()
    bring: list[Payload] = ["whole", "brief", "none"]
    queries = [
        replace(query, payload=bring[place % 3])
        for place, query in enumerate(random_queries(12, filters=False)["dense"])
    ]
    together = index.query_batch(queries)
    for query, hits in zip(queries, together, strict=True):
        [alone] = index.query_batch([query])
        assert hits == alone
        assert all(("title" in hit.payload) == (query.payload == "whole") for hit in hits)
        assert all(("document_id" in hit.payload) == (query.payload != "none") for hit in hits)
    assert sum(map(len, together)) > 60, "the same passages, more than once"
