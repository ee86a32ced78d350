"""Refusals that cost next to nothing: where the queue is full a request is told so before its body is read."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import keys
from serving.api.errors import error_response
from serving.api.middleware import SECURITY, server_timing, trace_of
from serving.context import Spent, new_request_id, request_id
from serving.errors import ApiError
from serving.protocol import Answer
from serving.sight import Answered, Sink, tell


@dataclass(frozen=True)
class Gate:
    """A route whose work waits in a queue.

    Attributes:
        path: of the route, without parameters.
        scope: that a key must have to ask it.
        refusal: what any request would be told now, whatever its body says; None where that decides.
    """

    path: str
    scope: keys.Scope
    refusal: Callable[[], ApiError | None]


class RefusedWhereFull:
    """Answers what would be refused anyway: parsing a thousand bodies a second would take the cores from the rest.

    It comes behind keys; who lacks the scope is told so by the route.

    Args:
        app: the application behind it.
        gates: of the routes that are looked at.
    """

    def __init__(self, app: ASGIApp, gates: Sequence[Gate]) -> None:
        self._app, self._gates = app, {gate.path: gate for gate in gates}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI calls it."""
        gate = self._gates.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        refusal = gate.refusal() if gate is not None and _may(scope, gate) else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = gate  # no router sees it, and records of answers are by the path of the route
        await _response(refusal)(scope, receive, send)


class RefusedAtOnce:
    """The same where nobody needs a key, before there is a request for the application, or a task that answers it.

    Callers and records see no difference to what ``RefusedWhereFull`` answers behind the rest of the middleware.

    Args:
        gates: of the routes that are looked at.
        sinks: that get a record of every answer.
    """

    def __init__(self, gates: Sequence[Gate], sinks: Sequence[Sink]) -> None:
        self._gates, self._sinks = {gate.path.encode(): gate for gate in gates}, sinks
        self._form: _Form | None = None  # of the last refusal

    def __call__(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> Answer | None:
        """As of ``serving.protocol.AtOnce``."""
        gate = self._gates.get(url)
        refusal = None if gate is None else gate.refusal()
        if gate is None or refusal is None:
            return None
        began, spent, given = time.perf_counter(), Spent(), Headers(raw=headers)
        if self._form is None or self._form.refusal is not refusal:
            self._form = _form(refusal)
        id_ = new_request_id(given.get("x-request-id"))
        rest = self._form.filled(id_.encode(), server_timing(spent, time.perf_counter() - began).encode())
        seconds = time.perf_counter() - began
        status, trace = self._form.status, trace_of(given)
        tell(self._sinks, Answered(id_, "POST", gate.path, status, seconds, began, spent, trace, key=""))
        return status, rest


@dataclass(frozen=True)
class _Form:
    """The answer of a refusal, but for what differs from request to request.

    Attributes:
        refusal: that is answered.
        status: of HTTP.
        headers: those that are always the same, each with the end of its line.
        before: of the body, the part before the request's id.
        after: the part after it.
    """

    refusal: ApiError
    status: int
    headers: bytes
    before: bytes
    after: bytes

    def filled(self, id_: bytes, timing: bytes) -> bytes:
        """Headers and body of one answer."""
        length = len(self.before) + len(id_) + len(self.after)
        own = b"content-length: %d\r\nserver-timing: %b\r\nx-request-id: %b\r\n\r\n" % (length, timing, id_)
        return b"".join((self.headers, own, self.before, id_, self.after))


def _form(refusal: ApiError) -> _Form:
    place = new_request_id(None)  # nothing else of the body is like it
    token = request_id.set(place)
    try:
        response = _response(refusal)
    finally:
        request_id.reset(token)
    same = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    same += [(name.encode(), value.encode()) for name, value in SECURITY.items()]
    before, after = bytes(response.body).split(place.encode())
    return _Form(refusal, response.status_code, b"".join(b"%b: %b\r\n" % header for header in same), before, after)


def _response(refusal: ApiError) -> Response:
    return error_response(refusal.type, refusal.message, None, refusal.code, refusal.headers)


def _may(scope: Scope, gate: Gate) -> bool:
    key: keys.Key | None = scope.get("state", {}).get("key")
    return key is None or key.may(gate.scope)
