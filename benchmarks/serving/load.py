"""A client that asks as fast as answers come, or so many times a second whether they come or not.

It shares the cores with the servers that it measures, so it is bare sockets, a parser in C and callbacks: an HTTP
library, and even a task for each request, would take a large share of them.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import uvloop

from benchmarks.serving.connection import Connection, connected

RETRY_S = 0.2
TICK_S = 0.001  # between two looks at which requests are due; uvloop's timers are no finer


@dataclass
class Asked:
    """What came of asking.

    Attributes:
        seconds: of each answer that was a success.
        statuses: of every answer; 0 where the connection broke.
        took_s: all of it, by the clock.
        retried: requests that were asked once more.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    took_s: float = 0.0
    retried: int = 0

    @property
    def rate(self) -> float:
        """Successes a second."""
        return len(self.seconds) / self.took_s

    def ms(self, percentile: float) -> float:
        """A percentile of the seconds, in milliseconds."""
        return 1000 * float(np.percentile(self.seconds, percentile)) if self.seconds else float("nan")


def request(path: str, body: bytes, headers: str = "") -> bytes:
    """A POST of JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def closed_loop(port: int, connections: int, requests: Sequence[bytes], seconds: float) -> Asked:
    """Ask over connections kept open, each as soon as it has its answer.

    Args:
        port: of this machine.
        connections: that ask side by side.
        requests: whole; each connection takes the next one, from the first again where all were asked.
        seconds: that are measured.

    Raises:
        OSError: if nothing listens at the port.
        RuntimeError: if an answer is not a success.
    """
    asked, turn = Asked(), count()

    async def every() -> None:
        over = asyncio.get_running_loop().create_future()
        ended = 0

        def ask(connection: Connection) -> None:
            connection.since_s = time.perf_counter()
            connection.ask(requests[next(turn) % len(requests)])

        def answered(connection: Connection, status: int) -> None:
            nonlocal ended
            if over.done():  # another one failed
                return
            now = time.perf_counter()
            asked.statuses[status] += 1
            if status not in (200, 202):
                over.set_exception(RuntimeError(f"port {port} answered {status or 'nothing'}"))
                return
            asked.seconds.append(now - connection.since_s)
            if now < until:
                ask(connection)
                return
            ended += 1
            if ended == connections:
                over.set_result(None)

        opened = [await connected(port, answered) for _ in range(connections)]
        started = time.perf_counter()
        until = started + seconds
        try:
            for connection in opened:
                ask(connection)
            await over
        finally:
            for connection in opened:
                connection.close()
        asked.took_s = time.perf_counter() - started

    uvloop.run(every())
    return asked


def open_loop(
    port: int, a_second: float, requests: Sequence[bytes], seconds: float, seed: int = 0, retries: int = 0
) -> Asked:
    """Ask at random times, so many times a second on average, whether answers come or not (Poisson arrivals).

    An answer's time counts from when its request was due, not from when a busy client came to send it (coordinated
    omission; Tene, How NOT to Measure Latency, 2015).

    Args:
        port: of this machine.
        a_second: requests.
        requests: whole, asked in turn.
        seconds: that are measured; the last answers are waited for.
        seed: of the times.
        retries: of a request that is answered 503, or whose connection breaks.
    """
    rng = np.random.default_rng(seed)
    due_s = np.cumsum(rng.exponential(1 / a_second, max(1, int(a_second * seconds))))
    arrivals = _Arrivals(port, requests, due_s.tolist(), retries)
    uvloop.run(arrivals.every())
    return arrivals.asked


class _Arrivals:
    """Requests that are asked when they are due, over as many connections as that takes.

    Args:
        port: of this machine.
        requests: whole, asked in turn.
        due_s: seconds after the beginning at which each is due, rising; at least one.
        retries: as of ``open_loop``.
    """

    def __init__(self, port: int, requests: Sequence[bytes], due_s: list[float], retries: int) -> None:
        self.asked = Asked()
        self._port, self._requests, self._due_s, self._retries = port, requests, due_s, retries
        self._idle: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._next = self._ended = 0

    async def every(self) -> None:
        """Ask all, and wait for the last answer."""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self._began_s = time.perf_counter()
        self._tick()
        await self._over
        self.asked.took_s = time.perf_counter() - self._began_s
        self._close_idle()

    def _tick(self) -> None:
        """Ask what is due, and come again for the next."""
        now_s = time.perf_counter() - self._began_s
        while self._next < len(self._due_s) and self._due_s[self._next] <= now_s:
            self._ask(self._next, self._began_s + self._due_s[self._next], self._retries)
            self._next += 1
        if self._next < len(self._due_s):
            self._loop.call_later(max(TICK_S, self._due_s[self._next] - now_s), self._tick)

    def _ask(self, number: int, since_s: float, retries: int) -> None:
        """Ask on the connection that was used last, or on a new one where none is idle."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                self._ask_on(connection, number, since_s, retries)
                return
        opening = self._loop.create_task(self._open_and_ask(number, since_s, retries))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open_and_ask(self, number: int, since_s: float, retries: int) -> None:
        try:
            connection = await connected(self._port, self._answered)
        except OSError:
            self._end(0, number, since_s, retries)
            return
        self._ask_on(connection, number, since_s, retries)

    def _ask_on(self, connection: Connection, number: int, since_s: float, retries: int) -> None:
        connection.number, connection.since_s, connection.retries = number, since_s, retries
        connection.ask(self._requests[number % len(self._requests)])

    def _answered(self, connection: Connection, status: int) -> None:
        if status:
            self._idle.append(connection)
        self._end(status, connection.number, connection.since_s, connection.retries)

    def _end(self, status: int, number: int, since_s: float, retries: int) -> None:
        """Count an answer, or ask once more."""
        if status in (0, 503) and retries:
            self.asked.retried += 1
            self._close_idle()  # they are of the same process
            self._loop.call_later(RETRY_S, self._ask, number, since_s, retries - 1)
            return
        self.asked.statuses[status] += 1
        if status == 200:
            self.asked.seconds.append(time.perf_counter() - since_s)
        self._ended += 1
        if self._ended == len(self._due_s):
            self._over.set_result(None)

    def _close_idle(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
