"""``POST /v1/rank``."""

from fastapi import APIRouter

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.capabilities import CapabilityRanking
from serving.feedback import FeedbackService
from serving.schemas.rank import RankRequest, RankResponse


def router(service: CapabilityRanking, feedback: FeedbackService) -> APIRouter:
    """The route that ranks capabilities."""
    routes = APIRouter(tags=["capabilities"], dependencies=[needs("search")], responses=documented(*OF_KEYS))

    @routes.post(
        "/v1/rank",
        responses=documented("bad_request", "not_found", "invalid_request", "overloaded", "unavailable", "timeout"),
    )
    async def rank(request: RankRequest) -> RankResponse:
        """Capabilities that serve an intent, in the order in which they are to be shown."""
        answer = await service.rank(request)
        feedback.ranked(request, answer)
        return answer

    return routes
