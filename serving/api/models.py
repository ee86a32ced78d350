"""``GET /v1/models``, as OpenAI's, and ``GET /metrics``."""

from fastapi import APIRouter, Response

from data.errors import nearest
from retrieval.steps import mode_of
from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.embedding import EmbeddingService
from serving.errors import ApiError
from serving.named import NO_MODELS, NamedModels
from serving.ranking import RankingService
from serving.schemas.models import Model, Models, Pipeline
from serving.search import Searching
from serving.sight import OPENMETRICS, Metrics


def router(
    embedding: EmbeddingService, ranking: RankingService, search: Searching, named: NamedModels = NO_MODELS
) -> APIRouter:
    """The route of models."""
    routes = APIRouter(tags=["models"], dependencies=[needs("search")], responses=documented(*OF_KEYS))

    async def served() -> list[Model]:
        encoder = Model(id=embedding.name, purposes=["embeddings", "search"], dimensions=embedding.dim)
        ranker = Model(id=ranking.ranker.name, purposes=["rerank"], dimensions=None)
        own = [encoder, ranker]
        if encoder.id == ranker.id:
            own = [encoder.model_copy(update={"purposes": [*encoder.purposes, *ranker.purposes]})]
        return [*own, *await named.listed()]

    @routes.get("/v1/models")
    async def models() -> Models:
        """The models that are served and what each is for, and the ways to search (`pipeline` of /v1/search)."""
        ways = [
            Pipeline(id=name, mode=mode_of(steps), steps=[step.model_dump(mode="json") for step in steps])
            for name, steps in search.pipelines.items()
        ]
        return Models(data=await served(), pipelines=ways)

    @routes.get("/v1/models/{id:path}", responses=documented("not_found"))
    async def model(id: str) -> Model:
        """One of them by its name."""
        every = {one.id: one for one in await served()}
        if id not in every:
            raise ApiError("not_found", f"there is no model {id!r}; {nearest(id, every)}", "id")
        return every[id]

    return routes


def metrics_router(metrics: Metrics) -> APIRouter:
    """The route that Prometheus scrapes."""
    routes = APIRouter(tags=["health"], dependencies=[needs("admin")], responses=documented(*OF_KEYS))

    @routes.get("/metrics", response_class=Response, responses={200: {"content": {"application/openmetrics-text": {}}}})
    async def page() -> Response:
        """Metrics of the replica that answers, in OpenMetrics."""
        return Response(metrics.page(), media_type=OPENMETRICS)

    return routes
