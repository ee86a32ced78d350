"""``POST /v1/links:score``."""

from fastapi import APIRouter

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.links import LinkScoring
from serving.schemas.links import LinkScoreRequest, LinkScores


def router(service: LinkScoring) -> APIRouter:
    """The route that scores links."""
    routes = APIRouter(tags=["links"], dependencies=[needs("search")], responses=documented(*OF_KEYS))

    @routes.post(
        "/v1/links:score",
        responses=documented("bad_request", "not_found", "invalid_request", "overloaded", "unavailable", "timeout"),
    )
    async def score(request: LinkScoreRequest) -> LinkScores:
        """How likely links are by the run's link model: of pairs of documents, or of a text that is not among them."""
        return await service.score(request)

    return routes
