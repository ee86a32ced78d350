"""Semantic cutting of a corpus: its sentences are written, embedded as passages are, and joined to passages."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from data.partitions import partitions
from data.passages import Span
from data.passages.config import ChunkConfig
from data.passages.semantic import cut_sentences, distances, join_sentences
from data.passages.writer import PassageWriter, read_texts

Embedded = tuple[str, list[Span], npt.NDArray[np.float32]]
"""A document's id, its sentences, and their vectors (n, dim)."""


def chunk_semantic(documents: Path, sentences: Path, config: ChunkConfig, out: Path) -> dict[str, Any]:
    """Cut every document where adjacent sentences differ most, and write passages in partitions.

    Args:
        documents: the table's folder.
        sentences: folder of the sentences stage: ``passages/`` of ``write_sentences`` and ``vectors/`` of them; neither
            where no document has a choice of where to be cut.
        config: how to cut.
        out: the artifact's folder; the passages go to ``passages/`` in it.

    Returns:
        ``documents``, ``passages``, ``partitions`` and ``longest_chars``.
    """
    embedded = _by_document(sentences / "passages", sentences / "vectors")
    writer = PassageWriter(out, config.partition_rows, config.with_title)
    following = next(embedded, None)
    for batch in read_texts(documents):
        for id_, title, text in batch:
            if following is not None and following[0] == id_:
                _, spans_of, vectors = following
                apart = distances(vectors)
                spans = join_sentences(
                    spans_of, apart, config.percentile, config.min_chars, config.max_chars or len(text)
                )
                following = next(embedded, None)
            else:
                spans = [_stripped(text)]
            writer.add(id_, title, text, [(span, None) for span in spans])
    return writer.close()


def write_sentences(documents: Path, config: ChunkConfig, folder: Path) -> int:
    """Write the sentences of every document that can be cut in more than one way, as a passages table.

    Titles are left out: with them, all sentences would be closer to each other.

    Returns:
        Number of sentences.
    """
    writer = PassageWriter(folder, config.partition_rows, with_title=False)
    for batch in read_texts(documents):
        for id_, _, text in batch:
            sentences = cut_sentences(text, config.max_chars or len(text)) if len(text) > config.min_chars else []
            if len(sentences) > 1:
                writer.add(id_, "", text, [(span, None) for span in sentences])
    passages: int = writer.close()["passages"]
    return passages


def _by_document(sentences: Path, vectors: Path) -> Iterator[Embedded]:
    """Sentences and vectors, a document at a time; one partition and one document in memory."""
    for id_, rows in groupby(_rows(sentences, vectors), key=lambda row: row[0]):
        spans, stacked = zip(*((span, vector) for _, span, vector in rows), strict=True)
        yield id_, list(spans), np.stack(stacked)


def _rows(sentences: Path, vectors: Path) -> Iterator[tuple[str, Span, npt.NDArray[np.float32]]]:
    paths = partitions(vectors)
    for some, embedded in zip(partitions(sentences) if paths else [], paths, strict=True):
        table = pq.read_table(some, columns=["document_id", "start", "end"])
        column = pq.read_table(embedded, columns=["vector"])["vector"].combine_chunks()
        matrix = np.asarray(column.flatten(), dtype=np.float32).reshape(len(table), -1)
        ids, starts, ends = (table[name].to_pylist() for name in ("document_id", "start", "end"))
        yield from zip(ids, zip(starts, ends, strict=True), matrix, strict=True)


def _stripped(text: str) -> Span:
    """The span of a text without white space at its ends."""
    whole = text.strip()
    begin = len(text) - len(text.lstrip()) if whole else 0
    return begin, begin + len(whole)
