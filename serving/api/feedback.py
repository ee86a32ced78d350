"""``POST /v1/feedback``."""

from fastapi import APIRouter

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.feedback import FeedbackService
from serving.schemas.feedback import FeedbackRequest, FeedbackResponse


def router(service: FeedbackService) -> APIRouter:
    """The route of feedback."""
    routes = APIRouter(tags=["feedback"], dependencies=[needs("write")], responses=documented(*OF_KEYS))

    @routes.post(
        "/v1/feedback",
        status_code=202,
        responses=documented("bad_request", "not_found", "invalid_request", "unavailable"),
    )
    async def feedback(request: FeedbackRequest) -> FeedbackResponse:
        """Events about answers, by their `x-request-id`. A 202 means that they are on disk: a kill loses none."""
        return await service.accept(request)

    return routes
