"""The Ray Serve application: its routes, its deployments, and the builder that puts them together.

``build`` takes one typed argument. Ray Serve reads the annotation as an object, so this module must not postpone the
evaluation of annotations.
"""

import asyncio
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import fastapi
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from data.cache import CacheConfig
from data.encoders.config import EncoderConfig, TransformerConfig
from data.errors import EncoderUnavailable, InputError
from data.labels import label
from retrieval.filters import parse_filter
from retrieval.index import IndexMeta
from retrieval.open import read_meta
from retrieval.search import SearchHit, SearchQuery, check_query
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.errors import ApiError, answer_errors, documented
from serving.http import HeadAsGet
from serving.index import IndexActor
from serving.links import LinkTables
from serving.schemas import Health, LinksResponse, SearchRequest, SearchResponse, SearchResult

# What each replica books. Index and ingress work while the embedder waits, and the other way round; together with one
# embedder they fit on one core.
CORES = {"embedder": 0.8, "index": 0.1, "ingress": 0.1}

api = FastAPI(title="Catena", description="Search over a body of text, and the links between its documents.")
answer_errors(api)
api.add_middleware(HeadAsGet)


class Service(BaseModel):
    """What to serve: where a run's artifacts are, and how big to make the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Path
    documents: Path
    links: Path
    discovered: Path | None = None
    encoder: EncoderConfig = TransformerConfig()
    serve: ServeConfig = ServeConfig()
    cache: CacheConfig = CacheConfig()


# Before the class: `serve.ingress` copies the globals that its methods find at this point.
def checked_query(meta: IndexMeta, request: SearchRequest) -> SearchQuery:
    """The query of a request.

    Raises:
        ApiError: if the index cannot answer it; it names the field.
    """
    try:
        filter_ = parse_filter(request.filter)
        query = SearchQuery(request.query, request.mode, request.top_k, filter_)
        check_query(meta, query)
    except InputError as error:
        about = "mode" if error.problem.startswith("mode") else "filter"
        raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", about) from None
    return query


@serve.ingress(api)
class Ingress:
    """The routes. It checks requests and hands the work on: to the embedder, then to the index."""

    def __init__(self, embedder: DeploymentHandle, index: DeploymentHandle, meta: IndexMeta, service: Service) -> None:
        self._embedder = embedder
        self._index = index
        self._meta = meta
        self._links = LinkTables(service.documents, service.links, service.discovered)
        self._health_timeout_s = service.serve.health_timeout_s

    @api.post("/v1/search", responses=documented("invalid_request", "unavailable"))
    async def search(self, request: SearchRequest) -> SearchResponse:
        """Documents that answer a question, best first."""
        query = checked_query(self._meta, request)
        try:
            hits = await self._find(query)
        except EncoderUnavailable as error:
            if not request.bm25_if_encoder_down:
                raise ApiError("unavailable", f"{error.problem}; mode bm25 works without it", "mode") from None
            query = replace(query, mode="bm25")
            hits = await self._find(query)
        results = [
            SearchResult.model_validate({**asdict(hit), "title": label(hit.document_id, hit.title)}) for hit in hits
        ]
        return SearchResponse(query=request.query, mode=query.mode, results=results)

    @api.get("/v1/links/{id:any}", responses=documented("not_found", "invalid_request"))
    async def links(
        self, id: str, limit: Annotated[int, fastapi.Query(ge=1, le=1000, description="links of each kind")] = 100
    ) -> LinksResponse:
        """Links of a document: those the corpus came with, and those the link model proposes."""
        title = self._links.title(id)
        if title is None:
            raise ApiError("not_found", f"there is no document {id!r}", "id")
        known, discovered = self._links.known(id)[:limit], self._links.discovered(id)[:limit]
        return LinksResponse(id=id, title=title, known=known, discovered=discovered)

    @api.get("/healthz", responses=documented("unavailable"))
    async def healthz(self) -> Health:
        """Whether model and index answer: both are asked now."""
        query = SearchQuery("health", "hybrid", top_k=1)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._health_timeout_s):
                vector = await self._embedder.encode.remote(query.text)
                encoded = time.perf_counter()
                await self._index.search.remote(query, vector)
        except Exception as error:
            raise ApiError("unavailable", f"model or index does not answer: {type(error).__name__}") from error
        return Health(
            encoder=self._meta.encoder,
            passages=self._meta.points,
            encode_ms=round((encoded - started) * 1000, 2),
            search_ms=round((time.perf_counter() - encoded) * 1000, 2),
        )

    async def _find(self, query: SearchQuery) -> list[SearchHit]:
        if query.mode == "bm25":
            vector = tokens = None
        elif query.mode == "late":
            vector, tokens = await asyncio.gather(
                self._embedder.encode.remote(query.text), self._embedder.encode_tokens.remote(query.text)
            )
        else:
            vector, tokens = await self._embedder.encode.remote(query.text), None
        hits: list[SearchHit] = await self._index.search.remote(query, vector, tokens)
        return hits


def build(service: Service) -> Application:
    """The application: ingress, embedder, index.

    Raises:
        InputError: if there is no finished index.
    """
    meta = read_meta(service.index)
    ongoing = service.serve.max_ongoing_requests
    embedder = serve.deployment(Embedder).options(
        num_replicas=service.serve.replicas,
        max_ongoing_requests=ongoing,
        ray_actor_options={"num_cpus": CORES["embedder"]},
    )
    index = serve.deployment(IndexActor).options(
        max_ongoing_requests=ongoing, ray_actor_options={"num_cpus": CORES["index"]}
    )
    ingress = serve.deployment(Ingress).options(
        max_ongoing_requests=ongoing, ray_actor_options={"num_cpus": CORES["ingress"]}
    )
    return ingress.bind(
        embedder.bind(service.encoder, meta, service.serve, service.cache), index.bind(service.index), meta, service
    )
