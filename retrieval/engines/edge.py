"""The embedded engine: Qdrant Edge, the server's own storage and search in this process."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import qdrant_edge as edge

from data.errors import InputError
from data.lexical import SparseVector
from retrieval.clauses import Between, Clause, Every, Match, Present, Some, Without
from retrieval.config import QUANTILE, IndexConfig, Quantisation
from retrieval.filter_keys import DOCUMENT_ID, FilterKey, Kind, fields
from retrieval.index import BRIEF, Hit, IndexedPassage, IndexQuery, Key, Payload, in_order, point_id

_PAYLOAD = edge.PayloadSelector.Exclude(["filters"])  # what hits bring; filters only ask these
_NOTHING: Mapping[str, Any] = {}
_BRINGS: Mapping[Payload, Any] = {"whole": _PAYLOAD, "brief": edge.PayloadSelector.Include(list(BRIEF)), "none": False}

_PAYLOAD_INDEXES: Mapping[Kind, Any] = {
    "text": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "boolean": edge.PayloadSchemaType.Keyword,
    "time": edge.PayloadSchemaType.Datetime,
}


class EdgeIndex:
    """One folder of Qdrant Edge.

    It is made without a write-ahead log: a build that is cut short is thrown away whole, and without the log's lock any
    number of processes can read a finished folder at once. A query holds the GIL of its process.
    """

    def __init__(self, shard: edge.EdgeShard, config: IndexConfig) -> None:
        self._shard = shard
        self._config = config
        self._params = self._search_params()

    @classmethod
    def create(
        cls,
        folder: Path,
        dim: int,
        filter_keys: Sequence[FilterKey],
        config: IndexConfig,
        late_dim: int | None = None,
        idf: bool = True,
    ) -> Self:
        """An empty index in a folder that does not exist yet.

        Args:
            folder: to be made.
            dim: of vectors.
            filter_keys: that filters may name.
            config: of the index.
            late_dim: of token vectors; there is no room for any where None.
            idf: whether the index multiplies a question's terms by its own inverse document frequencies; without, the
                question brings its weights.
        """
        folder.mkdir(parents=True)
        graph_from_kib = max(config.exact_below_points * dim * 4 // 1024, 1)
        modifier = edge.Modifier.Idf if idf else None
        vectors = {"dense": _dense(dim, config.quantisation)}
        if late_dim is not None:
            vectors["late"] = _multivector(late_dim)
        shard = edge.EdgeShard.create(
            str(folder),
            edge.EdgeConfig(
                vectors=vectors,
                sparse_vectors={"bm25": edge.EdgeSparseVectorParams(modifier=modifier)},
                hnsw_config=edge.HnswIndexConfig(
                    m=config.hnsw_m, ef_construct=config.hnsw_ef_construct, full_scan_threshold=graph_from_kib
                ),
                optimizers=edge.EdgeOptimizersConfig(indexing_threshold=graph_from_kib),
                wal_enabled=False,
            ),
        )
        for field, kind in fields(filter_keys):
            shard.update(edge.UpdateOperation.create_field_index(field, _PAYLOAD_INDEXES[kind]))
        return cls(shard, config)

    @classmethod
    def open(cls, folder: Path, config: IndexConfig) -> Self:
        """A finished index.

        Qdrant Edge opens its files for writing and touches them; what they hold stays as it is.

        Raises:
            InputError: if the folder cannot be written.
        """
        if not os.access(folder, os.W_OK):
            raise InputError(
                f"{folder}: the embedded index cannot be opened: the folder is not writable",
                "Copy the workspace to a place that is, or keep the index on a Qdrant server (index.engine: server).",
            )
        return cls(edge.EdgeShard.load(str(folder)), config)

    def upsert(self, passages: Sequence[IndexedPassage]) -> None:
        """Store passages; a passage stored before is replaced."""
        points = [
            edge.Point(
                point_id(p.id),
                {"dense": p.vector, "bm25": edge.SparseVector(*p.sparse)}
                | ({} if p.tokens is None else {"late": p.tokens}),
                p.payload(),
            )
            for p in passages
        ]
        self._shard.update(edge.UpdateOperation.upsert_points(points))

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove every passage of some documents; one that is not there is no error."""
        of_documents = edge.Filter(must=[edge.FieldCondition(DOCUMENT_ID, match=edge.MatchAny(list(document_ids)))])
        self._shard.update(edge.UpdateOperation.delete_points_by_filter(of_documents))

    def finish(self) -> None:
        """Build the HNSW graph (blocks until done) and write everything to disk."""
        self._shard.optimize()
        self._shard.flush()
        self._params = self._search_params()

    def count(self) -> int:
        """Number of passages stored, exactly."""
        return int(self._shard.count(edge.CountRequest(exact=True)))

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query, best first, ties by passage id.

        A payload takes longer to hand over than to find. Of several queries each is handed over once, however many of
        them found it; hits share it.
        """
        apart = len(queries) > 1
        requests = [self._request(query, "none" if apart else query.payload) for query in queries]
        found = self._shard.query_batch(edge.QueryBatchRequest(requests))
        if not apart:
            return [in_order([Hit(point.id, point.score, point.payload or _NOTHING) for point in of]) for of in found]
        keys = [[point.id for point in of] for of in found]
        stored: dict[Payload, Mapping[Key, Mapping[str, Any]]] = {}
        for wanted in {query.payload for query in queries} - {"none"}:
            named = {key for query, of in zip(queries, keys, strict=True) if query.payload == wanted for key in of}
            stored[wanted] = self._payloads(named, wanted) if named else {}
        return [
            in_order([Hit(key, point.score, _NOTHING) for key, point in zip(of, points, strict=True)])
            if query.payload == "none"
            else in_order(
                [
                    Hit(key, point.score, stored[query.payload][key])
                    for key, point in zip(of, points, strict=True)
                    if key in stored[query.payload]  # else deleted since
                ]
            )
            for query, of, points in zip(queries, keys, found, strict=True)
        ]

    def payloads(self, keys: Sequence[Key]) -> dict[Key, Mapping[str, Any]]:
        """What passages were stored with, by their keys; one that is not there is left out."""
        return self._payloads(keys, "whole")

    def _payloads(self, keys: Iterable[Key], wanted: Payload) -> dict[Key, Mapping[str, Any]]:
        return {point.id: point.payload for point in self._shard.retrieve(list(keys), _BRINGS[wanted], False)}

    def close(self) -> None:
        """Release the folder."""
        self._shard.close()

    def _search_params(self) -> edge.SearchParams:
        config = self._config
        coded = None
        if config.quantisation != "none":
            coded = edge.QuantizationSearchParams(rescore=True, oversampling=config.oversampling)
        points = self.count()
        exact = points < config.exact_below_points
        return edge.SearchParams(hnsw_ef=config.candidates(points), exact=exact, quantization=coded)

    def _request(self, query: IndexQuery, payload: Payload) -> edge.QueryRequest:
        name, value = query.one()
        return edge.QueryRequest(
            limit=query.limit,
            query=edge.Query.Nearest(_side(value), using=name),
            filter=_filter(query),
            params=self._params,
            with_payload=_BRINGS[payload],
        )


def _dense(dim: int, quantisation: Quantisation) -> edge.EdgeVectorParams:
    """Vectors of passages; where there are codes of them, these are in memory and the vectors on disk."""
    cosine, in_memory = edge.Distance.Cosine, edge.Memory.Pinned
    if quantisation == "none":
        return edge.EdgeVectorParams(size=dim, distance=cosine)
    coded = {
        "scalar": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=QUANTILE, memory=in_memory),
        "turbo": edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, memory=in_memory),
        "binary": edge.BinaryQuantizationConfig(memory=in_memory),
    }
    return edge.EdgeVectorParams(
        size=dim, distance=cosine, quantization_config=coded[quantisation], memory=edge.Memory.Cold
    )


def _multivector(dim: int) -> edge.EdgeVectorParams:
    """Token vectors, scored by MaxSim where another list names the passages: no graph of their own."""
    return edge.EdgeVectorParams(
        size=dim,
        distance=edge.Distance.Dot,
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
        datatype=edge.VectorStorageDatatype.Float16,
        hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=1),
    )


def _side(value: np.ndarray | SparseVector) -> Any:  # noqa: ANN401 - the engine's classes are untyped
    return edge.SparseVector(*value) if isinstance(value, SparseVector) else value


def _filter(query: IndexQuery) -> edge.Filter | None:
    conditions: list[Any] = [] if query.filter is None else [_condition(query.filter)]
    if query.among is not None:
        conditions.append(edge.HasIdCondition(set(query.among)))
    return edge.Filter(must=conditions) if conditions else None


def _condition(clause: Clause) -> Any:  # noqa: ANN401 - the engine's conditions have no common class
    match clause:
        case Match():
            return edge.FieldCondition(clause.field, match=edge.MatchAny(list(clause.values)))
        case Between():
            bounds = edge.RangeDateTime(**clause.bounds) if clause.times else edge.RangeFloat(**clause.bounds)
            return edge.FieldCondition(clause.field, range=bounds)
        case Present():
            return edge.Filter(must_not=[edge.IsEmptyCondition(clause.field)])
        case Every():
            return edge.Filter(must=[_condition(inner) for inner in clause.clauses])
        case Some():
            return edge.Filter(should=[_condition(inner) for inner in clause.clauses])
        case Without():
            return edge.Filter(must_not=[_condition(clause.clause)])
