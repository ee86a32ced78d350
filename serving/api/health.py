"""``GET /healthz``: the process answers. ``GET /readyz``: model and index do."""

from fastapi import APIRouter

from serving.api.errors import documented
from serving.schemas import Health, Readiness
from serving.search import Searching


def router(service: Searching) -> APIRouter:
    """The routes that probes ask."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz")
    async def healthz() -> Health:
        """Whether the process answers; nothing behind it is asked."""
        return Health()

    @routes.get("/readyz", responses=documented("unavailable"))
    async def readyz() -> Readiness:
        """Whether model and index answer: both are asked now."""
        return await service.ready()

    return routes
