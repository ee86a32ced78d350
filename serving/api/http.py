"""HTTP that FastAPI's routes lack: HEAD where GET is, and paths with any character in them."""

from starlette.convertors import CONVERTOR_TYPES, PathConvertor
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AnyText(PathConvertor):
    """The rest of a path, line breaks among it; the ``path`` of Starlette ends at one."""

    regex = r"[\s\S]*"


CONVERTOR_TYPES["any"] = AnyText()  # as `{id:any}` in the path of a route


class HeadAsGet:
    """Answers HEAD as GET, without the body (RFC 9110, 9.3.2).

    Args:
        app: the application that answers GET.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI calls it."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send_head)
        finally:
            scope.update({name: inner[name] for name in ("route", "state") if name in inner})
