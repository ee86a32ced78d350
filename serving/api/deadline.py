"""The header ``x-request-timeout-ms``: what is not answered by then is given up, begun or not."""

import asyncio
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.errors import error_response

HEADER = "x-request-timeout-ms"
LONGEST_MS = 600_000


class Deadline:
    """Answers 504 at a request's deadline, and cancels the work on it: what waits for a batch leaves the queue.

    Args:
        app: the application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI calls it."""
        asked = Headers(scope=scope).get(HEADER) if scope["type"] == "http" else None
        if asked is None:
            await self._app(scope, receive, send)
            return
        if not (re.fullmatch("[0-9]{1,6}", asked) and 1 <= int(asked) <= LONGEST_MS):
            message = f"the header {HEADER} must be from 1 to {LONGEST_MS:,} milliseconds, got {asked[:100]!r}"
            await error_response("bad_request", message, HEADER)(scope, receive, send)
            return
        began = False

        async def noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            async with asyncio.timeout(int(asked) / 1000) as limit:
                await self._app(scope, receive, noted)
        except TimeoutError:
            if began or not limit.expired():
                raise
            await error_response("timeout", f"no answer within the {asked} ms of {HEADER}")(scope, receive, send)
