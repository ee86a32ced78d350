"""``GET /v1/documents/{id}`` and ``GET /v1/links/{id}``."""

from typing import Annotated

from fastapi import APIRouter, Query

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.errors import ApiError
from serving.lookup import Lookup
from serving.schemas import Document, LinksResponse


def router(service: Lookup) -> APIRouter:
    """The routes that look up."""
    routes = APIRouter(tags=["documents"], dependencies=[needs("search")], responses=documented(*OF_KEYS))

    @routes.get("/v1/documents/{id:any}", responses=documented("not_found"))
    async def document(id: str) -> Document:
        """A document as the corpus has it."""
        found = await service.document(id)
        if found is None:
            raise _unknown(id)
        return found

    @routes.get("/v1/links/{id:any}", responses=documented("not_found", "invalid_request"))
    async def links(
        id: str, limit: Annotated[int, Query(ge=1, le=1000, description="links of each kind")] = 100
    ) -> LinksResponse:
        """Links of a document: those the corpus came with, and those the link model proposes."""
        found = await service.links(id, limit)
        if found is None:
            raise _unknown(id)
        return found

    return routes


def _unknown(id_: str) -> ApiError:
    return ApiError("not_found", f"there is no document {id_!r}", "id")
