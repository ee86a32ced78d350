"""The HTTP application: one router a capability, and one list of middleware, read from top to bottom.

Behind each route is a service that a test can call without HTTP and without Ray.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from fastapi import FastAPI
from starlette.middleware import Middleware

from serving.api import documents, embeddings, feedback, health, models, rerank, search
from serving.api.auth import Authenticated
from serving.api.deadline import Deadline
from serving.api.errors import answer_errors
from serving.api.http import HeadAsGet
from serving.api.middleware import BodyLimit, RequestId, Timed, Unforeseen
from serving.documents import DocumentsService
from serving.embedding import EmbeddingService
from serving.feedback import FeedbackService
from serving.keys import KeyRing
from serving.lookup import Lookup
from serving.ranking import RankingService
from serving.search import SearchService
from serving.sight import Metrics, Sink


@dataclass(frozen=True)
class Services:
    """What the routes ask."""

    search: SearchService
    embedding: EmbeddingService
    ranking: RankingService
    lookup: Lookup
    documents: DocumentsService
    feedback: FeedbackService
    metrics: Metrics


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
) -> FastAPI:
    """The application over its services.

    Args:
        services: what the routes ask.
        limits: what is refused.
        ring: of the keys that let in; None lets everybody in.
        sinks: that get a record of every answer, beside the metrics.
        ids_told: whether what is in front puts the requests' ids on answers.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        services.feedback.close()

    api = FastAPI(
        lifespan=lifespan,
        title="Catena",
        description="Search over a body of text, and the links between its documents.",
        middleware=[
            Middleware(RequestId, told=ids_told),
            Middleware(Timed, sinks=(services.metrics, *sinks)),
            Middleware(Unforeseen),
            Middleware(Authenticated, ring=ring),
            Middleware(Deadline),
            Middleware(BodyLimit, most_bytes=limits.max_body_bytes),
            Middleware(HeadAsGet),
        ],
    )
    answer_errors(api)
    for router in (
        search.router(services.search, services.feedback),
        embeddings.router(services.embedding),
        rerank.router(services.ranking),
        documents.router(services.lookup),
        documents.writes_router(services.documents),
        feedback.router(services.feedback),
        models.router(services.embedding, services.ranking),
        models.metrics_router(services.metrics),
        health.router(services.search),
    ):
        api.include_router(router)
    return api
