"""``GET``, ``PUT`` and ``DELETE`` of documents, and ``GET /v1/links/{id}``."""

from typing import Annotated

from fastapi import APIRouter, Query

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.documents import Writing
from serving.errors import ApiError
from serving.lookup import Lookup
from serving.schemas import Document, LinksResponse
from serving.schemas.documents import DeleteRequest, PutRequest, Written


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


def writes_router(service: Writing) -> APIRouter:
    """The routes that write."""
    routes = APIRouter(tags=["documents"], dependencies=[needs("write")], responses=documented(*OF_KEYS, "not_found"))

    @routes.put(
        "/v1/documents",
        responses=documented("bad_request", "invalid_request", "overloaded", "unavailable", "timeout"),
    )
    async def put(request: PutRequest) -> Written:
        """Documents in the place of those that have their ids, or new. A 200 means that all are on disk and found."""
        return await service.put(request.documents)

    @routes.delete("/v1/documents", responses=documented("bad_request", "invalid_request", "unavailable"))
    async def delete(request: DeleteRequest) -> Written:
        """Delete documents, those of the corpus among them. What is not there is counted and no error."""
        return await service.delete(request.ids)

    @routes.delete("/v1/documents/{id:any}", responses=documented("unavailable"))
    async def delete_one(id: str) -> Written:
        """Delete a document. What is not there is counted and no error."""
        return await service.delete([id])

    return routes


def _unknown(id_: str) -> ApiError:
    return ApiError("not_found", f"there is no document {id_!r}", "id")
