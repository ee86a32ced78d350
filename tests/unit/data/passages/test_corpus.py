"""Semantic and hierarchical cutting from documents to vectors and answers, without a cluster."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.cache.keys import text_hashes
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.protocol import Encoder
from data.partitions import partition_name, partitions, read_table, write_partition
from data.passages.chunk import chunk
from data.passages.chunk_semantic import chunk_semantic, write_sentences
from data.passages.config import ChunkConfig
from data.passages.text import passage_text
from data.schema import DOCUMENTS
from data.vectors.table import write_vectors
from retrieval.build import build_index
from retrieval.config import IndexConfig
from retrieval.search import open_retriever

CATS = "The cat sleeps on a mat. A cat purrs when it is stroked. Cats dream of mice and birds. Kittens play with wool."
RATES = "The bank raised its interest rate. Inflation fell below target. Bond yields rose. Markets expect more of it."


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(TransformerConfig(precision="fp32"))


def write_documents(folder: Path, texts: list[str]) -> Path:
    folder.mkdir(parents=True)
    rows = [{"id": f"d{n}", "title": f"Title {n}", "text": text} for n, text in enumerate(texts)]
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), folder / partition_name(0))
    return folder


def embed(encoder: Encoder, passages: Path, out: Path) -> dict[str, Any]:
    """What the embed stage writes, in this process."""
    (out / "vectors").mkdir(parents=True)
    for path in partitions(passages):
        rows = pq.read_table(path)
        texts = list(map(passage_text, rows["title"].to_pylist(), rows["text"].to_pylist()))
        encoded, hashes = encoder.encode_counted(texts), text_hashes(texts)
        write_vectors(rows["id"], rows["document_id"], hashes, encoded, encoder, out / "vectors" / path.name)
    described = {"dim": encoder.dim, "fingerprint": encoder.fingerprint, "precision": encoder.precision}
    (out / "manifest.json").write_text(json.dumps(described))
    return described


def test_semantic_passages_part_two_topics_over_any_partitions(tmp_path: Path, encoder: Encoder) -> None:
    documents = write_documents(tmp_path / "documents", [f"{CATS} {RATES}", "Short.", "", RATES])
    made = []
    for rows in (2048, 3):  # sentences of a document in one partition, and in several
        config = ChunkConfig(strategy="semantic", min_chars=50, max_chars=500, percentile=80, partition_rows=rows)
        out = tmp_path / str(rows)
        sentences = tmp_path / f"sentences-{rows}"
        assert write_sentences(documents, config, sentences) == 12
        embed(encoder, sentences / "passages", sentences)
        assert chunk_semantic(documents, sentences, config, out)["documents"] == 4
        made.append(read_table(out / "passages").to_pylist())
    assert made[0] == made[1]
    texts = [row["text"] for row in made[0]]
    assert CATS in texts
    assert [row["text"] for row in made[0] if row["document_id"] in ("d1", "d2")] == ["Short.", ""]
    assert all(f"{CATS} {RATES}"[row["start"] : row["end"]] == row["text"] for row in made[0][:2])


def test_semantic_cutting_of_short_documents_needs_no_encoder(tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "documents", [" Short. ", " "])
    config = ChunkConfig(strategy="semantic")
    assert write_sentences(documents, config, tmp_path / "sentences") == 0
    chunk_semantic(documents, tmp_path / "sentences", config, tmp_path)
    assert read_table(tmp_path / "passages")["text"].to_pylist() == ["Short.", ""]


def test_search_answers_with_the_parent_of_the_passage_it_finds(tmp_path: Path, encoder: Encoder) -> None:
    text = "\n\n".join([CATS, RATES, CATS.replace("at", "og")])
    documents = write_documents(tmp_path / "documents", [text, "Short."])
    config = ChunkConfig(strategy="hierarchical", max_chars=60, overlap_chars=0, parent_chars=120, partition_rows=4)
    chunk(documents, config, tmp_path)
    embed(encoder, tmp_path / "passages", tmp_path)
    (tmp_path / "index").mkdir()
    build_index(documents, tmp_path / "passages", tmp_path, IndexConfig(), tmp_path / "index")
    retriever = open_retriever(tmp_path / "index", TransformerConfig(precision="fp32"))
    for mode in ("bm25", "hybrid"):
        (hits,) = retriever.search(["interest rate of the bank"], mode=mode)  # type: ignore[arg-type]
        assert hits[0].text == RATES == text[hits[0].start : hits[0].end]
        assert hits[0].passage_id in read_table(tmp_path / "parents")["id"].to_pylist()
    retriever.index.close()
