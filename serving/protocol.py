"""uvicorn's HTTP, with a bound on the head of a request: how large it may be, and how long it may take to come.

uvicorn bounds neither: a client that sends headers without end would fill the memory before any of the application sees
the request, and one that sends nothing would keep its connection for ever. And it would close a connection on which a
request is just coming when a replica stops.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.schemas import ErrorBody, ErrorDetail

MOST_HEAD_BYTES = 64 * 1024
HEAD_WITHIN_S = 20.0
LAST_REQUEST_S = 1.0  # for a request that is on its way when the replica stops


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes: int | None = 0  # of the head that is being read; None while none is
    _head_due: asyncio.TimerHandle | None = None
    _ends = False  # with the next answer

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
        self._expect_head()

    def on_headers_complete(self) -> None:
        """As the parser calls it."""
        self._head_arrived()
        super().on_headers_complete()
        if self._ends:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """As uvicorn calls it; a connection that is closed at once resets a request that nobody has read yet."""
        if self.cycle is None or self.cycle.response_complete:
            self._ends = True
            self.loop.call_later(LAST_REQUEST_S, self._close_idle)
        else:
            super().shutdown()

    def _close_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it."""
        super().data_received(data)
        if self._head_bytes is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            message = f"the head of the request is larger than {MOST_HEAD_BYTES:,} bytes"
            self._refuse("431 Request Header Fields Too Large", message, "head_too_large")

    def send_400_response(self, msg: str) -> None:
        """As uvicorn calls it for what is no HTTP."""
        self._refuse("400 Bad Request", msg, "invalid_http")

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
