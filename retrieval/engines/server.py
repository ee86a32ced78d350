"""The engine for production: a Qdrant server through ``qdrant-client``."""

import os
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Self

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from data.errors import InputError
from data.lexical import SparseVector
from retrieval.clauses import Between, Clause, Every, Match, Present, Some, Without
from retrieval.config import QUANTILE, IndexConfig, Quantisation
from retrieval.filter_keys import DOCUMENT_ID, FilterKey, Kind, fields
from retrieval.index import BRIEF, Hit, IndexedPassage, IndexQuery, Key, Payload, in_order, point_id

API_KEY = "CATENA_QDRANT_API_KEY"

_PAYLOAD = models.PayloadSelectorExclude(exclude=["filters"])  # what hits bring; filters only ask these
_BRINGS: Mapping[Payload, Any] = {
    "whole": _PAYLOAD,
    "brief": models.PayloadSelectorInclude(include=list(BRIEF)),
    "none": False,
}

_PAYLOAD_INDEXES: Mapping[Kind, models.PayloadSchemaType] = {
    "text": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
    "boolean": models.PayloadSchemaType.KEYWORD,
    "time": models.PayloadSchemaType.DATETIME,
}


def connect(config: IndexConfig) -> QdrantClient:
    """A client of the configured server, with the key from the environment.

    Raises:
        InputError: if the server does not answer or refuses the key.
    """
    # Its own check of versions runs in a thread and can only warn; the request below checks that the server answers.
    client = QdrantClient(
        url=config.url, api_key=os.environ.get(API_KEY), timeout=ceil(config.timeout_s), check_compatibility=False
    )
    try:
        client.get_collections()
    except ResponseHandlingException as error:
        raise InputError(
            f"no Qdrant server answers at {config.url}: {error}", "Start it, or correct index.url."
        ) from None
    except UnexpectedResponse as error:
        raise InputError(
            f"{config.url} refused: {error.status_code} {error.reason_phrase}", f"Set {API_KEY}."
        ) from None
    return client


class ServerIndex:
    """One collection of a Qdrant server, by its name or an alias."""

    def __init__(self, client: QdrantClient, collection: str, config: IndexConfig) -> None:
        self._client = client
        self._collection = collection
        self._config = config
        self._last: list[models.PointStruct] = []
        self._params = self._search_params()

    @classmethod
    def create(
        cls,
        client: QdrantClient,
        collection: str,
        dim: int,
        filter_keys: Sequence[FilterKey],
        config: IndexConfig,
        late_dim: int | None = None,
    ) -> Self:
        """An empty collection under a name not used yet; with room for token vectors of ``late_dim``."""
        vectors = {"dense": _dense(dim, config.quantisation)}
        if late_dim is not None:
            vectors["late"] = _multivector(late_dim)
        client.create_collection(
            collection,
            vectors_config=vectors,
            sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            hnsw_config=models.HnswConfigDiff(m=config.hnsw_m, ef_construct=config.hnsw_ef_construct),
        )
        for field, kind in fields(filter_keys):
            client.create_payload_index(collection, field, _PAYLOAD_INDEXES[kind])
        return cls(client, collection, config)

    @classmethod
    def open(cls, collection: str, config: IndexConfig) -> Self:
        """A finished collection, or the one that its alias names.

        Raises:
            InputError: if the server does not answer or has no such collection.
        """
        client = connect(config)
        if not client.collection_exists(collection):
            raise InputError(
                f"{config.url} has no collection {collection}", "Build the index again: delete its artifact."
            )
        return cls(client, collection, config)

    def upsert(self, passages: Sequence[IndexedPassage]) -> None:
        """Store passages; a passage stored before is replaced. The server may still be at it when this returns."""
        self._last = [
            models.PointStruct(
                id=point_id(p.id),
                vector={"dense": p.vector.tolist(), "bm25": _sparse(p.sparse)}
                | ({} if p.tokens is None else {"late": p.tokens.tolist()}),
                payload=p.payload(),
            )
            for p in passages
        ]
        self._client.upsert(self._collection, self._last, wait=False)

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove every passage of some documents, and wait until none is found; one that is not there is no error."""
        named = models.FieldCondition(key=DOCUMENT_ID, match=models.MatchAny(any=list(document_ids)))
        selected = models.FilterSelector(filter=models.Filter(must=[named]))
        self._client.delete(self._collection, selected, wait=True)
        self._last = [point for point in self._last if (point.payload or {})[DOCUMENT_ID] not in set(document_ids)]

    def finish(self) -> None:
        """Wait until everything stored can be found; the server builds its HNSW graph by itself."""
        if self._last:  # a shard applies updates in order: once the last batch is in again, all are in
            self._client.upsert(self._collection, self._last, wait=True)
        self._last = []
        self._params = self._search_params()

    def count(self) -> int:
        """Number of passages stored, exactly."""
        return self._client.count(self._collection, exact=True).count

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query, best first, ties by passage id."""
        answers = self._client.query_batch_points(self._collection, [self._request(query) for query in queries])
        return [
            in_order([Hit(int(point.id), point.score, point.payload or {}) for point in answer.points])
            for answer in answers
        ]

    def payloads(self, keys: Sequence[Key]) -> dict[Key, Mapping[str, Any]]:
        """What passages were stored with, by their keys; one that is not there is left out."""
        found = self._client.retrieve(self._collection, list(keys), _PAYLOAD)
        return {int(point.id): point.payload or {} for point in found}

    def close(self) -> None:
        """Release the connection."""
        self._client.close()

    def _search_params(self) -> models.SearchParams:
        config = self._config
        coded = None
        if config.quantisation != "none":
            coded = models.QuantizationSearchParams(rescore=True, oversampling=config.oversampling)
        points = self.count()
        exact = points < config.exact_below_points
        return models.SearchParams(hnsw_ef=config.candidates(points), exact=exact, quantization=coded)

    def _request(self, query: IndexQuery) -> models.QueryRequest:
        name, value = query.one()
        return models.QueryRequest(
            query=_side(value),
            using=name,
            limit=query.limit,
            filter=_filter(query),
            params=self._params,
            with_payload=_BRINGS[query.payload],
        )


def switch_alias(client: QdrantClient, alias: str, collection: str) -> None:
    """Point an alias at another collection in one call: no query ever finds it missing."""
    exists = any(known.alias_name == alias for known in client.get_aliases().aliases)
    delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    create = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))
    client.update_collection_aliases([delete, create] if exists else [create])


def _dense(dim: int, quantisation: Quantisation) -> models.VectorParams:
    """Vectors of passages; where there are codes of them, these are in memory and the vectors on disk."""
    cosine, in_memory = models.Distance.COSINE, models.Memory.PINNED
    coded: models.QuantizationConfig
    match quantisation:
        case "none":
            return models.VectorParams(size=dim, distance=cosine)
        case "scalar":
            eight_bits = models.ScalarQuantizationConfig(
                type=models.ScalarType.INT8, quantile=QUANTILE, memory=in_memory
            )
            coded = models.ScalarQuantization(scalar=eight_bits)
        case "turbo":
            four_bits = models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, memory=in_memory)
            coded = models.TurboQuantization(turbo=four_bits)
        case "binary":
            coded = models.BinaryQuantization(binary=models.BinaryQuantizationConfig(memory=in_memory))
    return models.VectorParams(size=dim, distance=cosine, quantization_config=coded, memory=models.Memory.COLD)


def _multivector(dim: int) -> models.VectorParams:
    """Token vectors, scored by MaxSim where another list names the passages: no graph of their own."""
    return models.VectorParams(
        size=dim,
        distance=models.Distance.DOT,
        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        datatype=models.Datatype.FLOAT16,
        hnsw_config=models.HnswConfigDiff(m=0),
    )


def _sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def _side(value: np.ndarray | SparseVector) -> Any:  # noqa: ANN401 - the client's union of query types has 30 members
    return _sparse(value) if isinstance(value, SparseVector) else value.tolist()


def _filter(query: IndexQuery) -> models.Filter | None:
    conditions = [] if query.filter is None else [_condition(query.filter)]
    if query.among is not None:
        conditions.append(models.HasIdCondition(has_id=list(query.among)))
    return models.Filter(must=conditions) if conditions else None


def _condition(clause: Clause) -> models.Condition:
    match clause:
        case Match():
            return models.FieldCondition(key=clause.field, match=models.MatchAny(any=list(clause.values)))
        case Between():
            bounds = models.DatetimeRange(**clause.bounds) if clause.times else models.Range(**clause.bounds)
            return models.FieldCondition(key=clause.field, range=bounds)
        case Present():
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=clause.field))
            return models.Filter(must_not=[empty])
        case Every():
            return models.Filter(must=[_condition(inner) for inner in clause.clauses])
        case Some():
            return models.Filter(should=[_condition(inner) for inner in clause.clauses])
        case Without():
            return models.Filter(must_not=[_condition(clause.clause)])
