"""Whatever goes wrong leaves as ``{"error": {"type", "message", "param"}}`` with the status code that fits."""

import logging
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serving.schemas import ErrorBody, ErrorDetail

logger = logging.getLogger("catena")

ErrorType = Literal["invalid_request", "not_found", "method_not_allowed", "unavailable", "internal"]
STATUS: dict[ErrorType, int] = {
    "invalid_request": 422,
    "not_found": 404,
    "method_not_allowed": 405,
    "unavailable": 503,
    "internal": 500,
}


class ApiError(Exception):
    """An answer that is not a success.

    Args:
        type: kind of error; it decides the status code.
        message: what is wrong and what is allowed.
        param: the field or parameter it is about.
    """

    def __init__(self, type: ErrorType, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.type: ErrorType = type
        self.message = message
        self.param = param


def answer_errors(api: FastAPI) -> None:
    """Give every error of an application the one form of body."""
    api.add_exception_handler(ApiError, _known)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _from_router)
    api.add_exception_handler(Exception, _unforeseen)


def documented(*types: ErrorType) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, as OpenAPI's ``responses``."""
    return {STATUS[type_]: {"model": ErrorBody, "description": type_.replace("_", " ")} for type_ in types}


def _body(type_: ErrorType, message: str, param: str | None = None) -> JSONResponse:
    body = ErrorBody(error=ErrorDetail(type=type_, message=message, param=param))
    return JSONResponse(body.model_dump(), status_code=STATUS[type_])


async def _known(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _body(error.type, error.message, error.param)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """The first finding; ``param`` is its path without FastAPI's "body" or "query" in front."""
    assert isinstance(error, RequestValidationError)
    finding = error.errors()[0]
    if finding["type"] == "json_invalid":
        return _body("invalid_request", f"the body is not JSON: {finding['ctx']['error']}")
    param = ".".join(str(part) for part in finding["loc"][1:]) or None
    given = finding.get("input")
    shown = f", got {given!r}" if isinstance(given, str | int | float) and len(str(given)) < 100 else ""
    return _body("invalid_request", f"{finding['msg']}{shown}", param)


async def _from_router(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    by_status: dict[int, ErrorType] = {404: "not_found", 405: "method_not_allowed"}
    type_ = by_status.get(error.status_code, "internal" if error.status_code >= 500 else "invalid_request")
    response = _body(type_, str(error.detail))
    response.status_code = error.status_code
    return response


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _body("internal", "the server failed on this request; its log says why")
