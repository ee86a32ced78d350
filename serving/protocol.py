"""uvicorn's HTTP, with a bound on the head of a request: how large it may be, and how long it may take to come.

uvicorn bounds neither: a client that sends headers without end would fill the memory before any of the application sees
the request, and one that sends nothing would keep its connection for ever. And it would close a connection on which a
request is just coming when a replica stops.

What would be refused whatever it says is answered here, once its head is read.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from serving.schemas import ErrorBody, ErrorDetail

MOST_HEAD_BYTES = 64 * 1024
HEAD_WITHIN_S = 20.0
LAST_REQUEST_S = 1.0  # for a request that is on its way when the replica stops

Answer = tuple[int, bytes]
"""A status, and the headers and the body of an answer, without the headers that uvicorn puts on every answer."""

AtOnce = Callable[[bytes, list[tuple[bytes, bytes]]], Answer | None]
"""What a POST to a path with such headers is answered whatever its body is; None where the application decides."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        config: as uvicorn gives it.
        server_state: as uvicorn gives it.
        app_state: as uvicorn gives it.
        _loop: as uvicorn gives it.
        at_once: what the application need not be asked.
    """

    _head_bytes: int | None = 0  # of the head that is being read; None while none is
    _head_due: asyncio.TimerHandle | None = None
    _ends = False  # with the next answer
    _answered = False  # the request that is being read, by ``at_once``

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        at_once: AtOnce | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._at_once = at_once

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As asyncio calls it."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio calls it."""
        self._head_arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """As the parser calls it."""
        super().on_message_begin()
        self._answered = False
        self._expect_head()

    def on_headers_complete(self) -> None:
        """As the parser calls it."""
        self._head_arrived()
        if self._at_once is not None and self._is_plain_post():
            answer = self._at_once(self.url, self.headers)
            if answer is not None:
                self._answer(*answer)
                return
        super().on_headers_complete()
        if self._ends:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """As the parser calls it."""
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """As the parser calls it."""
        if not self._answered:
            super().on_message_complete()

    def shutdown(self) -> None:
        """As uvicorn calls it; a connection that is closed at once resets a request that nobody has read yet."""
        if self._is_idle():
            self._ends = True
            self.loop.call_later(LAST_REQUEST_S, self._close_idle)
        else:
            super().shutdown()

    def _close_idle(self) -> None:
        if self._is_idle():
            self.transport.close()

    def _is_idle(self) -> bool:
        """Whether every request before this one was answered."""
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it."""
        super().data_received(data)
        if self._answered and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )  # uvicorn ends it with each segment; the body of what was answered, or the next request, is still due
        if self._head_bytes is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            message = f"the head of the request is larger than {MOST_HEAD_BYTES:,} bytes"
            self._refuse("431 Request Header Fields Too Large", message, "head_too_large")

    def send_400_response(self, msg: str) -> None:
        """As uvicorn calls it for what is no HTTP."""
        self._refuse("400 Bad Request", msg, "invalid_http")

    def _is_plain_post(self) -> bool:
        """Whether it may be answered here: its answer is the next one on a connection that stays open after it."""
        parser = self.parser
        stays = parser.should_keep_alive() and parser.get_http_version() == "1.1" and not self._ends
        is_post = parser.get_method() == b"POST" and not parser.should_upgrade()
        return stays and is_post and self._is_idle() and not self.flow.write_paused

    def _answer(self, status: int, rest: bytes) -> None:
        """Answer the request whose head was read; nothing looks at its body."""
        self._answered = True
        every = (b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        self.transport.write(b"".join((STATUS_LINE[status], *every, rest)))
        self.on_response_complete()

    def _refuse(self, status: str, message: str, code: str) -> None:
        """Answer before there is a request that the application could answer, and close."""
        error = ErrorDetail(type="bad_request", message=message, code=code, request_id="")
        body = ErrorBody(error=error).model_dump_json().encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _expect_head(self) -> None:
        self._head_arrived()
        self._head_bytes = 0
        self._head_due = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def _head_arrived(self) -> None:
        self._head_bytes = None
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
