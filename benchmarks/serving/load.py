"""A client that asks as fast as answers come, or so many times a second whether they come or not.

It is a bare socket: an HTTP library would take a large share of two cores from the servers.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

RETRY_S = 0.2

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


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
        RuntimeError: if an answer is not a success.
    """
    asked, turn = Asked(), count()

    async def one(until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while time.perf_counter() < until:
                started = time.perf_counter()
                writer.write(requests[next(turn) % len(requests)])
                status = await read_answer(reader)
                asked.statuses[status] += 1
                if status not in (200, 202):
                    raise RuntimeError(f"port {port} answered {status}")
                asked.seconds.append(time.perf_counter() - started)
        finally:
            writer.close()

    async def every() -> None:
        started = time.perf_counter()
        await asyncio.gather(*(one(started + seconds) for _ in range(connections)))
        asked.took_s = time.perf_counter() - started

    asyncio.run(every())
    return asked


def open_loop(
    port: int, a_second: float, requests: Sequence[bytes], seconds: float, seed: int = 0, retries: int = 0
) -> Asked:
    """Ask at random times, so many times a second on average, whether answers come or not (Poisson arrivals).

    Args:
        port: of this machine.
        a_second: requests.
        requests: whole, asked in turn.
        seconds: that are measured; the last answers are waited for.
        seed: of the times.
        retries: of a request that is answered 503, or whose connection breaks.
    """
    asked, idle = Asked(), list[Connection]()
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / a_second, int(a_second * seconds)))

    async def answered(number: int) -> int:
        try:
            connection = _alive(idle) or await asyncio.open_connection("127.0.0.1", port)
            connection[1].write(requests[number % len(requests)])
            status = await read_answer(connection[0])
            idle.append(connection)
        except (OSError, asyncio.IncompleteReadError):
            return 0
        return status

    async def one(number: int) -> None:
        started, left = time.perf_counter(), retries
        while (status := await answered(number)) in (0, 503) and left:
            left -= 1
            asked.retried += 1
            idle.clear()  # the others are of the same process
            await asyncio.sleep(RETRY_S)
        asked.statuses[status] += 1
        if status == 200:
            asked.seconds.append(time.perf_counter() - started)

    async def every() -> None:
        started = time.perf_counter()
        tasks = []
        for number, at in enumerate(times):
            await asyncio.sleep(max(0.0, started + at - time.perf_counter()))
            tasks.append(asyncio.create_task(one(number)))
        await asyncio.gather(*tasks)
        asked.took_s = time.perf_counter() - started
        for _, writer in idle:
            writer.close()

    asyncio.run(every())
    return asked


def _alive(idle: list[Connection]) -> Connection | None:
    """The connection that was used last, but for those that the server has closed since; None where there is none."""
    while idle:
        reader, writer = idle.pop()
        if not reader.at_eof():
            return reader, writer
        writer.close()
    return None


async def read_answer(reader: asyncio.StreamReader) -> int:
    """The status of an answer, read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    lines = head.split(b"\r\n")
    length = next((line for line in lines if line.startswith(b"content-length:")), None)
    if length is not None:
        await reader.readexactly(int(length.split(b":")[1]))
    elif any(line.startswith(b"transfer-encoding:") and b"chunked" in line for line in lines):
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return int(lines[0].split()[1])


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
