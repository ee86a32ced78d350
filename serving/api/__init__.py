"""The HTTP application: one router a capability, and one list of middleware, read from top to bottom.

Behind each route is a service that a test can call without HTTP and without Ray.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from fastapi import FastAPI
from starlette.middleware import Middleware

from serving.api import bundles, documents, embeddings, feedback, health, links, models, rank, releases, rerank, search
from serving.api.auth import Authenticated
from serving.api.deadline import Deadline
from serving.api.errors import answer_errors
from serving.api.full import Gate, RefusedAtOnce, RefusedWhereFull
from serving.api.http import HeadAsGet
from serving.api.middleware import BodyLimit, RequestId, Timed, Unforeseen
from serving.bundles import NO_BUNDLES, BundleProposals
from serving.capabilities import NO_CAPABILITIES, CapabilityRanking
from serving.documents import Writing
from serving.embedding import EmbeddingService
from serving.errors import ApiError
from serving.feedback import FeedbackService
from serving.keys import KeyRing
from serving.links import LinkScoring
from serving.listener import answering
from serving.lookup import Lookup
from serving.named import NO_MODELS, NamedModels
from serving.ranking import RankingService
from serving.releases import Releases, following
from serving.search import Searching
from serving.sight import Metrics, Sink
from serving.traces import Traces
from serving.variants import Variant


@dataclass(frozen=True)
class Services:
    """What the routes ask."""

    search: Searching
    embedding: EmbeddingService
    ranking: RankingService
    lookup: Lookup
    links: LinkScoring
    documents: Writing
    feedback: FeedbackService
    metrics: Metrics
    releases: Releases[Variant] | None = None
    named: NamedModels = NO_MODELS
    capabilities: CapabilityRanking = NO_CAPABILITIES
    bundles: BundleProposals = NO_BUNDLES


class Limits(Protocol):
    """What the application refuses."""

    @property
    def max_body_bytes(self) -> int:
        """Largest body of a request."""


def application(
    services: Services,
    limits: Limits,
    ring: KeyRing | None = None,
    sinks: Sequence[Sink] = (),
    ids_told: bool = False,
    listening: socket.socket | None = None,
    traces: Traces | None = None,
) -> FastAPI:
    """The application over its services.

    Args:
        services: what the routes ask.
        limits: what is refused.
        ring: of the keys that let in; None lets everybody in.
        sinks: that get a record of every answer, beside the metrics.
        ids_told: whether what is in front puts the requests' ids on answers.
        listening: a socket that the application takes requests at by itself, beside those that it is called with.
        traces: of the answers; none are made where None.
    """
    gates = (
        Gate("/v1/embeddings", "embed", lambda: _refusal(services.embedding, services.named)),
        *(Gate(path, "rerank", lambda: _refusal(services.ranking, services.named)) for path in rerank.PATHS),
    )
    sinks = (services.metrics, *sinks, *([traces] if traces is not None else []))
    at_once = RefusedAtOnce(gates, sinks) if ring is None else None

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        listens = nullcontext() if listening is None else answering(api, listening, at_once)
        async with following(services.releases), listens:
            yield
        services.feedback.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)  # it may wait for the collector

    api = FastAPI(
        lifespan=lifespan,
        title="Catena",
        description="Search over a body of text, and the links between its documents.",
        middleware=[
            Middleware(RequestId, told=ids_told),
            Middleware(Timed, sinks=sinks),
            Middleware(Unforeseen),
            Middleware(Authenticated, ring=ring),
            Middleware(RefusedWhereFull, gates=gates),
            Middleware(Deadline),
            Middleware(BodyLimit, most_bytes=limits.max_body_bytes),
            Middleware(HeadAsGet),
        ],
    )
    answer_errors(api)
    for router in (
        search.router(services.search, services.feedback),
        embeddings.router(services.embedding, services.named),
        rerank.router(services.ranking, services.named),
        documents.router(services.lookup),
        links.router(services.links),
        documents.writes_router(services.documents),
        rank.router(services.capabilities, services.feedback),
        bundles.router(services.bundles),
        feedback.router(services.feedback),
        models.router(services.embedding, services.ranking, services.search, services.named),
        models.metrics_router(services.metrics),
        health.router(services.search),
        *([] if services.releases is None else [releases.router(services.releases)]),
    ):
        api.include_router(router)
    return api


def _refusal(own: EmbeddingService | RankingService, named: NamedModels) -> ApiError | None:
    """What any request would be told: each model has a queue, and of several only the body says which is asked."""
    return None if named.admissions else own.refusal
