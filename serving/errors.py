"""Every error is answered as ``{"error": {"type", "message", "param"}}`` with its status code."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from data.surrogates import replace_surrogates
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

_JSON_NAMES = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}


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
    shown = None if param is None else replace_surrogates(param)
    body = ErrorBody(error=ErrorDetail(type=type_, message=replace_surrogates(message), param=shown))
    return JSONResponse(body.model_dump(), status_code=STATUS[type_])


async def _known(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _body(error.type, error.message, error.param)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first finding; ``param`` is the field or the parameter of the request that it is about, and no part of it."""
    assert isinstance(error, RequestValidationError)
    finding = error.errors()[0]
    if finding["type"] == "json_invalid":
        return _body("invalid_request", f"the body is not JSON: {finding['ctx']['error']}")
    if finding["loc"] == ("body",):
        return _body("invalid_request", _about_body(request, finding))
    given = finding.get("input")
    shown = f", got {given!r}" if isinstance(given, str | int | float) and len(str(given)) < 100 else ""
    return _body("invalid_request", f"{finding['msg']}{shown}", str(finding["loc"][1]))


def _about_body(request: Request, finding: Mapping[str, Any]) -> str:
    """What is wrong with a body as a whole."""
    if finding["type"] == "string_unicode":  # of a key: pydantic names no field where it cannot read the name
        return f"the key {finding['input']!a} is not valid Unicode"
    if isinstance(finding["input"], bytes):  # FastAPI parses only what is declared to be JSON
        declared = request.headers.get("content-type")
        sent = f"is {declared!r}" if declared else "is missing"
        return f"the header Content-Type {sent}; send the body as application/json"
    if finding["input"] is None:
        return "the body is empty or null; send a JSON object"
    return f"the body is a JSON {_JSON_NAMES[type(finding['input'])]}; send a JSON object"


async def _from_router(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ValueError | RecursionError):  # from the reading of the body
        return _body("invalid_request", _unreadable(request, error.__cause__))
    by_status: dict[int, ErrorType] = {404: "not_found", 405: "method_not_allowed"}
    type_ = by_status.get(error.status_code, "internal" if error.status_code >= 500 else "invalid_request")
    response = _body(type_, str(error.detail))
    response.status_code = error.status_code
    for name, value in (error.headers or {}).items():
        methods = sorted({*value.split(", "), "HEAD"}) if name == "Allow" and "GET" in value else [value]
        response.headers[name] = ", ".join(methods)
    return response


def _unreadable(request: Request, cause: BaseException) -> str:
    """Why a body could not be parsed."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        return f"the header Content-Encoding is {encoding!r}; send the body without a compression"
    if isinstance(cause, UnicodeDecodeError):
        return f"the body is not {cause.encoding.upper()} at byte {cause.start}"
    if isinstance(cause, RecursionError):
        return "the body is nested too deeply"
    return f"the body is not JSON: {cause}"


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _body("internal", "the server failed on this request; the reason is in its log")
