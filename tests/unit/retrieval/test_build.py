"""Filling an index from a run's tables: counts, payloads, atomic replacement, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from qdrant_client import QdrantClient

from data.errors import InputError
from data.lexical import BM25, Tokenizer
from data.partitions import partition_name, write_partition
from data.passages.chunk import SCHEMA
from data.schema import DOCUMENTS, passage_id
from data.vectors.projection import PROJECTION, Projection, truncation
from retrieval.build import build_index
from retrieval.clauses import clause
from retrieval.config import IndexConfig
from retrieval.engines.server import ServerIndex
from retrieval.fill import build_collection
from retrieval.filter_keys import FilterKey
from retrieval.filters import parse_filter
from retrieval.index import IndexQuery
from retrieval.indexed_passages import indexed_passages
from retrieval.open import open_index, read_meta

DIM = 8


def write_run(root: Path, documents: int = 10, partition_rows: int = 7, passages_each: int = 2, dim: int = DIM) -> Path:
    """Documents, passages and vectors of a small run; every third document has metadata, the second no passage."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {
            "id": f"d/{i}",
            "title": f"Title {i}",
            "text": f"text {i}",
            "metadata": json.dumps({"kind": f"k{i % 3}"}) if i % 3 else None,
        }
        for i in range(documents)
    ]
    passages = [
        {"id": passage_id(row["id"], j, j + 5), "document_id": row["id"], "start": j, "end": j + 5}
        | {"text": f"word{i} part{j}", "title": row["title"]}
        for i, row in enumerate(rows)
        for j in range(passages_each)
        if i != 1
    ]
    for name in ("documents", "passages", "vectors"):
        (root / name).mkdir(parents=True)
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), root / "documents" / partition_name(0))
    vectors = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), dim))])
    for number, start in enumerate(range(0, max(len(passages), 1), partition_rows)):
        part = passages[start : start + partition_rows]
        embedded = [{"id": row["id"], "vector": rng.normal(size=dim).astype(np.float32)} for row in part]
        write_partition(pa.Table.from_pylist(part, SCHEMA), root / "passages" / partition_name(number))
        write_partition(pa.Table.from_pylist(embedded, vectors), root / "vectors" / partition_name(number))
    (root / "manifest.json").write_text(json.dumps({"dim": dim, "fingerprint": "tiny", "precision": "fp32"}))
    return root


def build(root: Path, config: IndexConfig = IndexConfig(batch_points=4)) -> dict[str, object]:  # noqa: B008 - frozen
    (root / "out").mkdir(exist_ok=True)
    return build_index(root / "documents", root / "passages", root, config, root / "out")


def test_every_passage_is_indexed_with_its_documents_metadata(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    assert build(root)["points"] == 18
    meta = read_meta(root / "out")
    assert (meta.points, meta.dim, meta.encoder) == (18, DIM, "tiny")
    assert meta.filter_keys == (FilterKey(path=("kind",), kinds=("text",)),)
    assert meta.mean_length == pytest.approx(4.0)  # "title", its number and two words of text
    index = open_index(root / "out")
    bm25 = BM25(Tokenizer("english"), meta.mean_length)
    (hits,) = index.query_batch([IndexQuery(50, sparse=bm25.query("word4 title"))])
    assert len(hits) == 18
    assert {h.payload["document_id"] for h in hits[:2]} == {"d/4"}
    assert hits[0].payload["metadata"] == {"kind": "k1"}
    assert (hits[0].payload["title"], hits[0].payload["end"] - hits[0].payload["start"]) == ("Title 4", 5)
    kind = clause(parse_filter({"kind": "k2"}), meta.filter_keys)
    (without,) = index.query_batch([IndexQuery(50, sparse=bm25.query("title"), filter=kind)])
    assert {h.payload["document_id"] for h in without} == {"d/2", "d/5", "d/8"}
    index.close()


def test_a_new_index_takes_the_place_of_the_old_and_leaves_nothing_behind(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    build(root)
    first = read_meta(root / "out").location
    reader = open_index(root / "out")
    (root / "out" / ".edge-cut-short.7.unfinished").mkdir()
    build(root, IndexConfig(k1=2.0))
    second = read_meta(root / "out").location
    assert first != second
    assert sorted(path.name for path in (root / "out").iterdir()) == [second, "meta.json", "terms.npy"]
    assert reader.count() == 18  # who had it open keeps it
    reader.close()


def test_a_failed_build_leaves_the_old_index_answering(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    build(root)
    before = read_meta(root / "out")
    (root / "vectors" / partition_name(1)).unlink()
    with pytest.raises(InputError, match="2 partitions"):
        build(root)
    assert read_meta(root / "out") == before
    index = open_index(root / "out")
    assert index.count() == 18
    index.close()


def test_vectors_of_other_passages_are_refused(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    (root / "vectors" / partition_name(1)).write_bytes((root / "vectors" / partition_name(0)).read_bytes())
    with pytest.raises(InputError, match="is not made from"):
        build(root)


def test_vectors_of_another_encoder_are_refused(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    path = root / "vectors" / partition_name(1)
    write_partition(pq.read_table(path).replace_schema_metadata({"encoder": "large"}), path)
    with pytest.raises(InputError, match="made by the encoder large, the others by tiny"):
        build(root)


def test_nothing_to_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no passages"):
        build(write_run(tmp_path, documents=0))


def test_a_lost_or_doubled_passage_is_noticed(tmp_path: Path) -> None:
    root = write_run(tmp_path, documents=4)
    path = root / "passages" / partition_name(0)
    twice = pa.Table.from_pylist(pq.read_table(path).to_pylist()[:1] * 6, SCHEMA)
    write_partition(twice, path)
    vectors = root / "vectors" / partition_name(0)
    write_partition(pa.Table.from_pylist(pq.read_table(vectors).to_pylist()[:1] * 6, pq.read_schema(vectors)), vectors)
    with pytest.raises(InputError, match="holds 1 passages of 6"):
        build(root)


def test_documents_may_stand_in_another_order_than_their_passages(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    path = root / "documents" / partition_name(0)
    write_partition(pa.Table.from_pylist(pq.read_table(path).to_pylist()[::-1], DOCUMENTS), path)
    rows = indexed_passages(
        root / "documents", root / "passages", root / "vectors", BM25(Tokenizer("none"), 4.0), "tiny", ()
    )
    assert all(row.title == f"Title {row.document_id[2:]}" for row in rows)


def test_no_index_and_an_unreachable_server_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no index in"):
        open_index(tmp_path)
    root = write_run(tmp_path)
    build(root)
    shutil.rmtree(root / "out" / read_meta(root / "out").location)
    with pytest.raises(InputError, match="has lost its folder"):
        open_index(root / "out")
    with pytest.raises(InputError, match="no Qdrant server answers at http://127"):
        build(root, IndexConfig(engine="server", url="http://127.0.0.1:9"))


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
@pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning")
def test_a_freshly_filled_collection_takes_the_alias_and_the_old_one_goes(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    build(root)
    meta = read_meta(root / "out")
    client = QdrantClient(":memory:")
    rows = list(
        indexed_passages(
            root / "documents", root / "passages", root / "vectors", BM25(Tokenizer("none"), 4.0), "tiny", ()
        )
    )
    held = []
    for _ in range(2):
        build_collection(client, rows, meta, root / "out")
        held.append([collection.name for collection in client.get_collections().collections])
    assert [len(names) for names in held] == [1, 1]
    assert held[0] != held[1]
    assert read_meta(root / "out").location == "catena-out"
    through = ServerIndex(client, "catena-out", meta.config)
    assert through.count() == 18
    (hits,) = through.query_batch([IndexQuery(1, dense=rows[5].vector)])
    assert hits[0].passage_id == rows[5].id
    client.close()


def test_config_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'english'"):
        IndexConfig(language="englsh")
    with pytest.raises(ValueError, match="needs `url`"):
        IndexConfig(engine="server")


def test_an_index_of_reduced_vectors_keeps_their_projection(tmp_path: Path) -> None:
    root = write_run(tmp_path)
    build(root)
    assert read_meta(root / "out").projection is None
    projection = truncation("tiny", 2 * DIM, DIM)
    projection.save(root / PROJECTION)
    build(root)
    (root / PROJECTION).unlink()
    moved = (root / "out").rename(root / "moved")
    kept = read_meta(moved).projection
    assert kept == moved.resolve() / PROJECTION and Projection.load(kept).fingerprint == projection.fingerprint
