"""Passages as an index takes them: with vectors, words, what their documents are stored with, and parents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from data.errors import InputError
from data.lexical import BM25
from data.metadata import Metadata, read_metadata
from data.partitions import partitions, read_batches
from data.passages.text import passage_text
from data.vectors.multivectors import read_multivectors
from data.vectors.read import matrix
from retrieval.filter_keys import FilterKey, FilterValues, Stored
from retrieval.index import IndexedPassage, Parent


def indexed_passages(
    documents: Path, passages: Path, vectors: Path, bm25: BM25, encoder: str, keys: Sequence[FilterKey]
) -> Iterator[IndexedPassage]:
    """Passages with their vectors, BM25 weights and their document's metadata; one partition in memory at a time.

    Raises:
        InputError: if vectors and passages do not belong together, or the vectors are another encoder's.
    """
    passage_paths, vector_paths = partitions(passages), partitions(vectors)
    if len(passage_paths) != len(vector_paths):
        raise InputError(
            f"{vectors} has {len(vector_paths)} partitions, {passages} has {len(passage_paths)}",
            "Delete the embed artifact and run again.",
        )
    described, parents = _Documents(documents, keys), _Parents(passages.with_name("parents"))
    for passage_path, vector_path in zip(passage_paths, vector_paths, strict=True):
        table, embedded = pq.read_table(passage_path), pq.read_table(vector_path)
        if not table["id"].equals(embedded["id"]):
            raise InputError(
                f"{vector_path} is not made from {passage_path}", "Delete the embed artifact and run again."
            )
        made_by = (embedded.schema.metadata or {}).get(b"encoder", encoder.encode()).decode()
        if made_by != encoder:
            raise InputError(
                f"{vector_path} was made by the encoder {made_by}, the others by {encoder}",
                "Delete the embed artifact and run again.",
            )
        for row, vector in zip(table.to_pylist(), matrix(embedded), strict=True):
            title, metadata, filters = described[row["document_id"]]
            yield IndexedPassage(
                id=row["id"],
                document_id=row["document_id"],
                title=title,
                text=row["text"],
                start=row["start"],
                end=row["end"],
                metadata=metadata,
                filters=filters,
                vector=vector,
                sparse=bm25.passage(passage_text(row["title"], row["text"])),
                parent=None if row["parent_id"] is None else parents[row["parent_id"]],
            )


def with_tokens(rows: Iterable[IndexedPassage], late: Path) -> Iterator[IndexedPassage]:
    """Passages with the vectors of their tokens beside them.

    Args:
        rows: passages.
        late: the late stage's folder, made from the same ones.

    Raises:
        InputError: if the late stage's passages are not these.
    """
    stored = (
        one
        for path in partitions(late / "multivectors")
        for some in read_multivectors(path)
        for one in zip(some.ids, some.each(), strict=True)
    )
    for row in rows:
        id_, tokens = next(stored, ("", np.empty((0, 0), np.float32)))
        if id_ != row.id:
            raise InputError(f"{late} is not made from the run's passages", "Delete the late artifact and run again.")
        yield replace(row, tokens=tokens)


class _Described(NamedTuple):
    """What a document's passages are stored with."""

    title: str
    metadata: Metadata
    filters: Mapping[str, Sequence[Stored]]


class _Documents:
    """Titles and metadata of documents, read along with their passages.

    Passages are in the order of their documents, so only documents without a passage are kept in memory; another
    order would be correct too and cost memory.
    """

    def __init__(self, folder: Path, keys: Sequence[FilterKey]) -> None:
        self._values = FilterValues(keys)
        self._stream = _titles_and_metadata(folder)
        self._passed: dict[str, tuple[str, str | None]] = {}
        self._id: str | None = None
        self._current = _Described("", {}, {})

    def __getitem__(self, document_id: str) -> _Described:
        if self._id != document_id:
            title, cell = self._find(document_id)
            metadata = read_metadata(cell)
            self._id, self._current = document_id, _Described(title, metadata, self._values(metadata))
        return self._current

    def _find(self, document_id: str) -> tuple[str, str | None]:
        if document_id in self._passed:
            return self._passed.pop(document_id)
        for passed_id, title, cell in self._stream:
            if passed_id == document_id:
                return title, cell
            self._passed[passed_id] = title, cell
        raise InputError(
            f"passages name the unknown document {document_id!r}", "Delete the chunk artifact and run again."
        )


class _Parents:
    """Parents of passages, read along with them: they are in the order of their children."""

    def __init__(self, folder: Path) -> None:
        self._stream = (row for batch in read_batches(folder) for row in batch.to_pylist())
        self._current: Parent | None = None

    def __getitem__(self, id_: str) -> Parent:
        while self._current is None or self._current.id != id_:
            row = next(self._stream, None)
            if row is None:
                raise InputError(
                    f"passages name the unknown parent {id_!r}", "Delete the chunk artifact and run again."
                )
            self._current = Parent(row["id"], row["text"], row["start"], row["end"])
        return self._current


def _titles_and_metadata(documents: Path) -> Iterator[tuple[str, str, str | None]]:
    """Id, title and the cell of metadata of each document."""
    for batch in read_batches(documents, ["id", "title", "metadata"]):
        yield from zip(*(batch[name].to_pylist() for name in ("id", "title", "metadata")), strict=True)
