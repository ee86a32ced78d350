"""What every request passes; ``serving.api.application`` has the order."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.errors import error_response
from serving.context import Spent, caller, expect_release, new_request_id, request_id, start_phases
from serving.sight import Answered, Sink, tell

logger = logging.getLogger("catena")

LONGEST_USER = 256  # characters of the header x-user
CLIENT_GONE = 499  # as nginx has it
TRACE_HEADERS = ("traceparent", "tracestate")  # W3C Trace Context, 2021
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class RequestId:
    """Gives each request an id: that of its header ``x-request-id``, or a new one; answers carry it, and errors.

    It also notes who asks, from the header ``x-user``, and tells which release answered.

    Args:
        app: the application behind it.
        told: whether what is in front of it puts the header on answers already, as Ray Serve's proxy does.
    """

    def __init__(self, app: ASGIApp, told: bool) -> None:
        self._app, self._told = app, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id")
        chosen = new_request_id(given)
        if self._told and given is not None and given != chosen:  # the answer would carry another than the log
            message = "the header x-request-id may have 128 of the characters A-Z a-z 0-9 . _ : / + = -"
            await error_response("bad_request", message, "x-request-id")(scope, receive, send)
            return
        headers = SECURITY if self._told else {**SECURITY, "x-request-id": chosen}
        token, named = request_id.set(chosen), caller.set(Headers(scope=scope).get("x-user", "")[:LONGEST_USER])
        release = expect_release()

        def every() -> Mapping[str, str]:
            return {**headers, "x-catena-release": release[0]} if release else headers

        try:
            await self._app(scope, receive, _with_headers(send, every))
        finally:
            request_id.reset(token)
            caller.reset(named)


class Timed:
    """Adds ``Server-Timing`` (W3C, 2023): milliseconds of each phase until the answer begins, and of all.

    Args:
        app: the application behind it.
        sinks: that get a record of every answer.
    """

    def __init__(self, app: ASGIApp, sinks: Sequence[Sink] = ()) -> None:
        self._app, self._sinks = app, sinks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, spent, status = time.perf_counter(), start_phases(), CLIENT_GONE

        async def timed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["server-timing"] = server_timing(spent, time.perf_counter() - started)
            await send(message)

        try:
            await self._app(scope, receive, timed)
        finally:
            route, key = scope.get("route"), scope.get("state", {}).get("key")
            tell(
                self._sinks,
                Answered(
                    request_id=request_id.get(),
                    method=scope["method"],
                    route=getattr(route, "path", ""),
                    status=status,
                    seconds=time.perf_counter() - started,
                    began=started,
                    spent=spent,
                    trace=trace_of(Headers(scope=scope)),
                    key="" if key is None else key.id,
                ),
            )


class Unforeseen:
    """Answers what no route foresaw by a typed body, and keeps the reason in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI calls it."""
        began = False

        async def noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if scope["type"] != "http" or began:
                raise
            asked = (scope["method"], scope["path"], request_id.get())  # as the caller sent them: quoted
            logger.error("%r %r failed (%s)", *asked, exc_info=error)
            message = "the server failed on this request; the reason is in its log"
            await error_response("internal", message)(scope, receive, send)


class BodyLimit:
    """Refuses a body that is too large: by its declared length before any of it is read, else at the limit.

    Args:
        app: the application behind it.
        most_bytes: that a body may have.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._most:
            await error_response("too_large", self._refusal)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise HTTPException(413, self._refusal)
            return message

        await self._app(scope, counted, send)

    @property
    def _refusal(self) -> str:
        return f"the body is larger than {self._most:,} bytes; send less at a time"


def server_timing(spent: Spent, seconds: float) -> str:
    """The header ``Server-Timing`` of an answer that begins after so many seconds."""
    phases = {**spent.seconds, "total": seconds}
    return ", ".join(f"{name};dur={1000 * phase_s:.2f}" for name, phase_s in phases.items())


def trace_of(headers: Headers) -> dict[str, str]:
    """Those headers that say which trace a request belongs to, by their names."""
    return {name: headers[name] for name in TRACE_HEADERS if name in headers}


def _with_headers(send: Send, headers: Callable[[], Mapping[str, str]]) -> Send:
    """Sends with more headers, made when the answer begins."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers())
        await send(message)

    return sent
