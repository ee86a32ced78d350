"""``GET /v1/links/{id}``."""

from typing import Annotated

from fastapi import APIRouter, Query

from serving.api.errors import documented
from serving.errors import ApiError
from serving.links import Links
from serving.schemas import LinksResponse


def router(service: Links) -> APIRouter:
    """The route of links."""
    routes = APIRouter(tags=["links"])

    @routes.get("/v1/links/{id:any}", responses=documented("not_found", "invalid_request"))
    async def links(
        id: str, limit: Annotated[int, Query(ge=1, le=1000, description="links of each kind")] = 100
    ) -> LinksResponse:
        """Links of a document: those the corpus came with, and those the link model proposes."""
        found = await service.links(id, limit)
        if found is None:
            raise ApiError("not_found", f"there is no document {id!r}", "id")
        return found

    return routes
