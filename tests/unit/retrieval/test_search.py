"""Search over a small index: documents rather than passages, deep enough, filtered, of the right encoder."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.cache import CacheConfig
from data.cache.encoder import CachedEncoder
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.errors import InputError
from data.partitions import partition_name, partitions, read_table, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.text import passage_text
from data.schema import DOCUMENTS
from retrieval.build import build_index
from retrieval.config import IndexConfig
from retrieval.open import open_index, read_meta
from retrieval.query import SearchQuery
from retrieval.question_encoders import query_encoders
from retrieval.search import Retriever, open_retriever

TEXTS = {
    "linalg/inv": ("Inverse", "Compute the inverse of a square matrix.", "array"),
    "linalg/svd": ("Singular values", "Factorise a matrix into singular vectors and values.", "array"),
    "fft/rfft": ("Fourier", "One-dimensional discrete Fourier transform of real input.", "signal"),
    "signal/filt": ("Filter", "Apply a digital filter forward and backward to a signal.", "signal"),
    "io/csv": ("Read CSV", "Read a comma-separated values file into a table.", "files"),
    "long/cats": (
        "Cats",
        " ".join(f"The cat number {i} sleeps on a warm mat in the sun." for i in range(60)),
        "animals",
    ),
}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages' own work on six documents, one of them many passages long."""
    root = tmp_path_factory.mktemp("run")
    rows = [
        {"id": id_, "title": title, "text": text, "metadata": json.dumps({"kind": kind})}
        for id_, (title, text, kind) in TEXTS.items()
    ]
    (root / "documents").mkdir()
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), root / "documents" / partition_name(0))
    chunk(root / "documents", ChunkConfig(max_chars=60, overlap_chars=0), root)
    encoder = load_encoder(TransformerConfig(precision="fp32"))
    (root / "vectors").mkdir()
    for path in partitions(root / "passages"):
        table = pq.read_table(path)
        vectors = encoder.encode([passage_text(row["title"], row["text"]) for row in table.to_pylist()])
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), encoder.dim)
        write_partition(pa.table({"id": table["id"], "vector": column}), root / "vectors" / path.name)
    described = {"dim": encoder.dim, "fingerprint": encoder.fingerprint, "precision": encoder.precision}
    (root / "manifest.json").write_text(json.dumps(described))
    (root / "index").mkdir()
    build_index(root / "documents", root / "passages", root, IndexConfig(), root / "index")
    return root / "index"


@pytest.fixture(scope="module")
def retriever(artifact: Path) -> Iterator[Retriever]:
    opened = open_retriever(
        artifact, TransformerConfig()
    )  # takes the index's precision, though a check might say otherwise
    yield opened
    opened.index.close()


def test_every_mode_finds_the_document(retriever: Retriever) -> None:
    for mode in ("hybrid", "dense", "bm25"):
        (hits,) = retriever.search(["inverse of a matrix"], mode=mode, top_k=3)
        assert hits[0].document_id == "linalg/inv"
        assert hits[0].metadata == {"kind": "array"}
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_words_need_not_match_for_vectors(retriever: Retriever) -> None:
    (hits,) = retriever.search(["spreadsheet import"], mode="dense", top_k=1)
    assert hits[0].document_id == "io/csv"
    (hits,) = retriever.search(["spreadsheet import"], mode="bm25", top_k=1)
    assert hits == []


def test_each_document_comes_once_by_its_best_passage(retriever: Retriever) -> None:
    """Sixty passages on cats must not crowd out the five other documents."""
    for mode in ("hybrid", "dense"):
        (hits,) = retriever.search(["cat number 7"], mode=mode, top_k=6)
        assert sorted(hit.document_id for hit in hits) == sorted(TEXTS)
        assert hits[0].document_id == "long/cats"
    (hits,) = retriever.search(["cat number 7"], mode="bm25", top_k=1)
    assert hits[0].text == TEXTS["long/cats"][1][hits[0].start : hits[0].end]
    assert "number 7" in hits[0].text


def test_a_batch_answers_each_query_as_it_would_be_alone(retriever: Retriever) -> None:
    queries = ["inverse", "filter a signal", "…", "read a file"]
    together = retriever.search(queries, mode="bm25", top_k=2)
    assert together == [retriever.search([query], mode="bm25", top_k=2)[0] for query in queries]
    assert together[2] == []


def test_filters_by_metadata_and_by_document(retriever: Retriever) -> None:
    (hits,) = retriever.search(["matrix"], top_k=6, filter={"kind": ["signal", "files"]})
    assert {hit.document_id for hit in hits} == {"fft/rfft", "signal/filt", "io/csv"}
    (hits,) = retriever.search(["matrix"], top_k=6, filter={"document_id": "io/csv", "kind": "files"})
    assert [hit.document_id for hit in hits] == ["io/csv"]
    (hits,) = retriever.search(["matrix"], top_k=6, filter={"kind": "nothing"})
    assert hits == []
    with pytest.raises(InputError, match="no filter by 'knd'") as raised:
        retriever.search(["matrix"], filter={"knd": "array"})
    assert "did you mean 'kind'" in raised.value.remedy


def test_an_index_of_another_encoder_is_refused(artifact: Path) -> None:
    with pytest.raises(InputError, match="built by another encoder"):
        open_retriever(artifact, TransformerConfig(precision="fp32", max_length=64))


def test_a_vector_of_another_size_is_refused(artifact: Path) -> None:
    retriever = Retriever(open_index(artifact), read_meta(artifact))
    with pytest.raises(ValueError, match="384 dimensions"):
        retriever.answer([SearchQuery("x")], [np.zeros(3, np.float32)])
    with pytest.raises(ValueError, match="no encoder"):
        retriever.search(["x"])
    retriever.index.close()


def test_passages_were_many(artifact: Path) -> None:
    assert len(read_table(artifact.parent / "passages", ["id"])) > 60


def test_questions_asked_before_have_the_vector_they_had(artifact: Path) -> None:
    meta = read_meta(artifact)
    plain = query_encoders(meta, TransformerConfig()).whole
    cached = query_encoders(meta, TransformerConfig(), CacheConfig()).whole
    (expected,) = plain.encode(["inverse of a matrix"])
    for question in ("inverse of a matrix", " inverse  of a matrix"):
        (vector,) = cached.encode([question])
        np.testing.assert_array_equal(vector, expected)
    assert isinstance(cached, CachedEncoder) and cached.fingerprint == plain.fingerprint
    assert cached.take_counts()["memory"].hits == 1
