"""Filling an index from the passages and vectors of a run, and putting it in the place of the one before."""

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow.parquet as pq

from data.embedding.config import TOKEN_PROJECTION
from data.encoders.chain import recorded_alternative
from data.errors import InputError
from data.files import remove_unfinished, whole_folder_or_absent, whole_or_absent
from data.lexical import BM25, mean_length
from data.metadata import Metadata, read_metadata
from data.partitions import count_rows, partitions, read_batches
from data.passages.text import passage_text
from data.progress import tracked
from data.vectors.multivectors import read_multivectors
from data.vectors.projection import PROJECTION
from data.vectors.read import matrix
from retrieval.config import IndexConfig
from retrieval.filter_keys import FilterKey, FilterValues, Stored, filter_keys
from retrieval.index import IndexedPassage, IndexMeta, Parent, VectorIndex
from retrieval.language import detect_language
from retrieval.open import write_meta
from retrieval.rescoring import keep_full_vectors, with_rows
from retrieval.terms import TermCounts

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


_SAMPLED = 64  # partitions
_LOOKED_AT = 2_000  # passages, for their language
_NUMBERS = 1_000_000  # of token vectors in an upload: about 10 MB of JSON, and a server takes 32


def build_index(
    documents: Path,
    passages: Path,
    embedded: Path,
    config: IndexConfig,
    out: Path,
    late: Path | None = None,
    full: Path | None = None,
) -> dict[str, Any]:
    """Index every passage of a run. An older index in ``out`` is used until the new one is complete, then replaced.

    Args:
        documents: the documents table.
        passages: the passages table.
        embedded: the folder of the embedding stage, or that of ``reduce``: ``manifest.json`` and ``vectors/``,
            partitioned like the passages, and ``projection.safetensors`` where vectors lost dimensions.
        config: engine and weights.
        out: the artifact's folder; ``meta.json`` in it names the collection that answers.
        late: the late stage's folder, where passages are indexed with the vectors of their tokens.
        full: the folder of the embedding stage, where ``config.rescore`` asks for its vectors beside the index.

    Raises:
        InputError: if there is nothing to index, vectors and passages do not belong together, or the index ends up with
            another number of passages than it was given.
    """
    if (config.rescore > 0) != (full is not None):
        raise ValueError(f"index.rescore is {config.rescore}, full vectors are {full}: both or neither")
    manifest = json.loads((embedded / "manifest.json").read_text())
    points = count_rows(passages)
    if points == 0:
        raise InputError(
            f"no passages to index in {passages}", "Check the source: every document may have been rejected."
        )
    config = _in_its_language(config, passages, points)
    tokenizer = config.tokenizer()
    bm25 = BM25(tokenizer, mean_length(_sample(passages), tokenizer), config.k1, config.b)
    keys = filter_keys(_each_metadata(documents), config.filter_keys)
    meta = IndexMeta(
        config=config,
        location="",
        points=points,
        dim=manifest["dim"],
        encoder=manifest["fingerprint"],
        precision=manifest["precision"],
        link=recorded_alternative(embedded),
        mean_length=bm25.mean_length,
        filter_keys=keys,
        projection=_kept_beside(embedded / PROJECTION, out),
        late_dim=None if late is None else json.loads((late / "manifest.json").read_text())["dim"],
        token_projection=None if late is None else _kept_beside(late / TOKEN_PROJECTION, out),
        **({} if full is None else keep_full_vectors(full, passages, out)),
    )
    rows = indexed_passages(documents, passages, embedded / "vectors", bm25, meta.encoder, keys)
    if late is not None:
        rows = with_tokens(rows, late)
    if full is not None:
        rows = with_rows(rows)
    counts = TermCounts()
    place = _build_on_server if config.engine == "server" else _build_edge
    started = time.perf_counter()
    place(counts.of(rows), meta, out)
    counts.write(out)
    rate = points / (time.perf_counter() - started)
    return {
        "points": points,
        "dim": meta.dim,
        "engine": config.engine,
        "language": config.language,
        "points_per_s": round(rate, 1),
    }


def _in_its_language(config: IndexConfig, passages: Path, points: int) -> IndexConfig:
    """The config with the language of some passages, evenly spread, where it is left open."""
    if config.language != "auto":
        return config
    language = detect_language(islice(_sample(passages), 0, None, -(-points // _LOOKED_AT)))
    return config.model_copy(update={"language": language})


def _kept_beside(projection: Path, out: Path) -> Path | None:
    """A copy beside the index, which then needs nothing of the run to understand a question; None where there is none.

    Returns:
        The name of the copy.
    """
    if not projection.exists():
        return None
    with whole_or_absent(out / projection.name) as unfinished:
        shutil.copyfile(projection, unfinished)
    return Path(projection.name)


def _build_edge(rows: Iterable[IndexedPassage], meta: IndexMeta, out: Path) -> None:
    from retrieval.engines.edge import EdgeIndex

    remove_unfinished(out)
    name = f"edge-{uuid4().hex[:8]}"
    with whole_folder_or_absent(out / name) as unfinished:
        index = EdgeIndex.create(unfinished, meta.dim, meta.filter_keys, meta.config, meta.late_dim)
        with closing(index):
            fill(index, rows, meta)
    write_meta(meta.model_copy(update={"location": name}), out)
    for replaced in out.glob("edge-*"):
        if replaced.name != name:
            shutil.rmtree(replaced)


def _build_on_server(rows: Iterable[IndexedPassage], meta: IndexMeta, out: Path) -> None:
    from retrieval.engines.server import connect

    with closing(connect(meta.config)) as client:
        build_collection(client, rows, meta, out)


def build_collection(client: "QdrantClient", rows: Iterable[IndexedPassage], meta: IndexMeta, out: Path) -> None:
    """Fill a new collection, point the artifact's alias at it, and drop what earlier builds of the artifact left."""
    from retrieval.engines.server import ServerIndex, switch_alias

    alias = f"catena-{out.name}"
    collection = f"{alias}-{uuid4().hex[:8]}"
    index = ServerIndex.create(client, collection, meta.dim, meta.filter_keys, meta.config, meta.late_dim)
    fill(index, rows, meta)
    switch_alias(client, alias, collection)
    write_meta(meta.model_copy(update={"location": alias}), out)
    for other in client.get_collections().collections:
        if other.name.startswith(f"{alias}-") and other.name != collection:
            client.delete_collection(other.name)


def fill(index: VectorIndex, rows: Iterable[IndexedPassage], meta: IndexMeta) -> None:
    """Upload all rows in batches and compare what has arrived with what was sent.

    Raises:
        InputError: if the index holds another number of passages than it was given.
    """
    batch: list[IndexedPassage] = []
    numbers = 0
    for row in tracked(rows, "index", meta.points, "passages"):
        batch.append(row)
        numbers += 0 if row.tokens is None else row.tokens.size
        if len(batch) == meta.config.batch_points or numbers >= _NUMBERS:
            index.upsert(batch)
            batch, numbers = [], 0
    if batch:
        index.upsert(batch)
    index.finish()
    held = index.count()
    if held != meta.points:
        raise InputError(
            f"the index holds {held} passages of {meta.points}: uploads were lost, or two passages share an id",
            "Run the stage again; if it happens again, delete the chunk artifact and run again.",
        )


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


def _each_metadata(documents: Path) -> Iterator[Metadata]:
    for batch in read_batches(documents, ["metadata"]):
        for cell in batch["metadata"].to_pylist():
            yield read_metadata(cell)


def _sample(passages: Path) -> Iterator[str]:
    """Texts of at most ``_SAMPLED`` partitions, evenly spread: the mean length of a large collection needs no more."""
    paths = partitions(passages)
    for path in paths[:: -(-len(paths) // _SAMPLED)]:
        table = pq.read_table(path, columns=["title", "text"])
        for title, text in zip(table["title"].to_pylist(), table["text"].to_pylist(), strict=True):
            yield passage_text(title, text)


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
