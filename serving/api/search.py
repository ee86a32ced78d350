"""``POST /v1/search``."""

from fastapi import APIRouter

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.feedback import FeedbackService
from serving.schemas import SearchRequest, SearchResponse
from serving.search import Searching


def router(service: Searching, feedback: FeedbackService) -> APIRouter:
    """The route of search."""
    routes = APIRouter(tags=["search"], dependencies=[needs("search")], responses=documented(*OF_KEYS))

    @routes.post(
        "/v1/search",
        responses=documented("bad_request", "not_found", "invalid_request", "overloaded", "unavailable", "timeout"),
    )
    async def search(request: SearchRequest) -> SearchResponse:
        """Documents that answer a question, best first."""
        answer = await service.search(request)
        feedback.served(request, answer)
        return answer

    return routes
