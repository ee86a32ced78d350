"""Who may ask what: keys in the header ``Authorization: Bearer KEY`` (RFC 6750), scopes by route."""

import math
from typing import Any

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import keys
from serving.api.errors import error_response
from serving.context import caller
from serving.errors import ApiError
from serving.schemas import ErrorType

OF_KEYS: tuple[ErrorType, ...] = ("unauthorized", "forbidden")
"""The errors of every route that a key is needed for."""

OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")  # to everybody: probes and documentation


class Authenticated:
    """Lets in who has a key, before anything of the body is read, and no more often than the key allows.

    Args:
        app: the application behind it.
        ring: of keys; None lets everybody in.
    """

    def __init__(self, app: ASGIApp, ring: keys.KeyRing | None) -> None:
        self._app, self._ring = app, ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI calls it."""
        if scope["type"] == "http" and self._ring is not None and scope["path"] not in OPEN:
            kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            key = self._ring.find(given.strip()) if kind.lower() == "bearer" else None
            if key is None:
                about = (
                    "the header Authorization must be `Bearer KEY` with a key that is valid; catena takes it from "
                    "CATENA_KEY"
                )
                challenge = {"WWW-Authenticate": "Bearer"}
                await error_response("unauthorized", about, "authorization", None, challenge)(scope, receive, send)
                return
            wait_s = self._ring.wait_s(key)
            if wait_s > 0:
                retry = {"Retry-After": str(math.ceil(wait_s))}
                message = f"the key {key.id} may ask {key.per_minute} times a minute"
                await error_response("overloaded", message, None, "rate_limit", retry)(scope, receive, send)
                return
            scope.setdefault("state", {})["key"] = key
            if not caller.get():
                caller.set(key.id)
        await self._app(scope, receive, send)


def needs(scope: keys.Scope) -> Any:  # noqa: ANN401 - FastAPI's type is not public
    """A dependency of routes that a key must have a scope for."""

    async def check(request: Request) -> None:
        key: keys.Key | None = getattr(request.state, "key", None)
        if key is not None and not key.may(scope):
            raise ApiError("forbidden", f"the key {key.id} has no scope {scope!r}; it has {', '.join(key.scopes)}")

    return Depends(check)
