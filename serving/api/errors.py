"""Every error is answered as ``{"error": {"type", "message", "param", "code", "request_id"}}`` with its status code."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from data.surrogates import replace_surrogates
from serving.context import request_id
from serving.errors import STATUS, ApiError
from serving.schemas import ErrorBody, ErrorDetail, ErrorType

_BY_STATUS = {status: type_ for type_, status in STATUS.items()}

_JSON_NAMES = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}


def answer_errors(api: FastAPI) -> None:
    """Give every error of an application the one form of body."""
    api.add_exception_handler(ApiError, _known)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _from_router)


def documented(*types: ErrorType) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, as OpenAPI's ``responses``."""
    return {STATUS[type_]: {"model": ErrorBody, "description": type_.replace("_", " ")} for type_ in types}


def error_response(
    type_: ErrorType,
    message: str,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer of an error, with the id of the request that is being answered."""
    shown = None if param is None else replace_surrogates(param)
    detail = ErrorDetail(
        type=type_, message=replace_surrogates(message), param=shown, code=code, request_id=request_id.get()
    )
    return JSONResponse(ErrorBody(error=detail).model_dump(), STATUS[type_], headers)


async def _known(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return error_response(error.type, error.message, error.param, error.code, error.headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first finding; ``param`` is the field or the parameter of the request that it is about, and no part of it."""
    assert isinstance(error, RequestValidationError)
    finding = max(error.errors(), key=lambda found: len(found["loc"]))  # of a union, the form that fits best
    if finding["type"] == "json_invalid":
        return error_response("bad_request", f"the body is not JSON: {finding['ctx']['error']}")
    if finding["loc"] == ("body",):
        return _about_body(request, finding)
    given = finding.get("input")
    shown = f", got {given!r}" if isinstance(given, str | int | float) and len(str(given)) < 100 else ""
    where = f"{_path(finding['loc'][1:])}: " if len(finding["loc"]) > 2 else ""
    return error_response("invalid_request", f"{where}{finding['msg']}{shown}", str(finding["loc"][1]), finding["type"])


def _path(place: Sequence[str | int]) -> str:
    """Where in the body a value is, such as ``events[0].action``."""
    first, *others = place
    return str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in others)


def _about_body(request: Request, finding: Mapping[str, Any]) -> JSONResponse:
    """What is wrong with a body as a whole."""
    if finding["type"] == "string_unicode":  # of a key: pydantic names no field where it cannot read the name
        return error_response("invalid_request", f"the key {finding['input']!a} is not valid Unicode")
    if isinstance(finding["input"], bytes):  # FastAPI parses only what is declared to be JSON
        declared = request.headers.get("content-type")
        sent = f"is {declared!r}" if declared else "is missing"
        message = f"the header Content-Type {sent}; send the body as application/json"
        return error_response("unsupported_media_type", message)
    if finding["input"] is None:
        return error_response("bad_request", "the body is empty or null; send a JSON object")
    what = _JSON_NAMES[type(finding["input"])]
    return error_response("invalid_request", f"the body is a JSON {what}; send a JSON object")


async def _from_router(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ValueError | RecursionError):  # from the reading of the body
        return _unreadable(request, error.__cause__)
    type_ = _BY_STATUS.get(error.status_code, "internal" if error.status_code >= 500 else "bad_request")
    response = error_response(type_, str(error.detail))
    response.status_code = error.status_code
    for name, value in (error.headers or {}).items():
        methods = sorted({*value.split(", "), "HEAD"}) if name == "Allow" and "GET" in value else [value]
        response.headers[name] = ", ".join(methods)
    return response


def _unreadable(request: Request, cause: BaseException) -> JSONResponse:
    """Why a body could not be parsed."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        message = f"the header Content-Encoding is {encoding!r}; send the body without a compression"
        return error_response("unsupported_media_type", message)
    if isinstance(cause, UnicodeDecodeError):
        return error_response("bad_request", f"the body is not {cause.encoding.upper()} at byte {cause.start}")
    if isinstance(cause, RecursionError):
        return error_response("bad_request", "the body is nested too deeply")
    return error_response("bad_request", f"the body is not JSON: {cause}")
