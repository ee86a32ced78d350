"""Refusals that cost next to nothing: where the queue is full a request is told so before its body is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from serving import keys
from serving.api.errors import error_response
from serving.errors import ApiError


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
        await error_response(refusal.type, refusal.message, None, refusal.code, refusal.headers)(scope, receive, send)


def _may(scope: Scope, gate: Gate) -> bool:
    key: keys.Key | None = scope.get("state", {}).get("key")
    return key is None or key.may(gate.scope)
