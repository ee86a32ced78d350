"""A connection of the load generator: bare bytes out, a parser in C for what comes back."""

import asyncio
from collections.abc import Callable

import httptools


class Connection(asyncio.Protocol):
    """A connection kept open, on which one request at a time is asked and its answer read to the end.

    Args:
        answered: called with the status of each answer; 0 where the connection broke before its end.
    """

    def __init__(self, answered: Callable[["Connection", int], None]) -> None:
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waits = False
        self.closed = False
        self.since_s = 0.0  # by the clock, from when the answer's time counts
        self.number = self.retries = 0  # of the request; how often it may be asked again

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As asyncio calls it."""
        self._transport = transport

    def ask(self, request: bytes) -> None:
        """Send a request; the answer to the one before has been read."""
        assert self._transport is not None, "it is open"
        self._waits = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:  # what came is no HTTP
            self.close()

    def on_message_complete(self) -> None:
        """As the parser calls it, once all of an answer is read."""
        self._waits = False
        self._answered(self, self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio calls it."""
        self.closed = True
        if self._waits:
            self._waits = False
            self._answered(self, 0)

    def close(self) -> None:
        """Ask nothing more."""
        assert self._transport is not None, "it is open"
        self._transport.close()


async def connected(port: int, answered: Callable[[Connection, int], None]) -> Connection:
    """A connection to a port of this machine.

    Raises:
        OSError: if nothing listens there.
    """
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(answered), "127.0.0.1", port)
    return connection
