"""The client of the serving benchmark: it counts what it is answered, and holds to the rate it is given."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from benchmarks.serving.load import Asked, closed_loop, open_loop, request


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    api = FastAPI()

    @api.post("/well")
    async def well(asked: Request) -> bytes:
        return await asked.body()

    @api.post("/busy")
    async def busy() -> Response:
        return Response(status_code=429)

    @api.post("/chunks")
    async def chunks() -> StreamingResponse:
        return StreamingResponse(iter([b"a" * 1000, b"b" * 70_000]))

    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("path", ["/well", "/chunks"])
def test_a_closed_loop_measures_every_answer(port: int, path: str) -> None:
    asked = closed_loop(port, 3, [request(path, b"{}")], 0.4)
    assert len(asked.seconds) == asked.statuses[200] == asked.statuses.total() > 3
    assert asked.rate == pytest.approx(len(asked.seconds) / asked.took_s)
    assert 0 < asked.ms(50) <= asked.ms(99) < 400


def test_a_closed_loop_takes_no_refusal_for_an_answer(port: int) -> None:
    with pytest.raises(RuntimeError, match="answered 429"):
        closed_loop(port, 1, [request("/busy", b"{}")], 0.2)


def test_an_open_loop_asks_at_its_rate_and_counts_refusals(port: int) -> None:
    asked = open_loop(port, 200.0, [request("/well", b"{}"), request("/busy", b"{}")], 1.0)
    assert asked.statuses.total() == 200
    assert asked.statuses[200] == len(asked.seconds) == 100 == asked.statuses[429]


def test_a_server_that_is_gone_is_counted_as_such() -> None:
    asked = open_loop(1, 50.0, [request("/well", b"{}")], 0.2)
    assert asked.statuses == {0: 10} and asked.seconds == []


def test_what_breaks_is_asked_again_on_another_connection() -> None:
    """A server that closes each second connection without an answer."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    async def case() -> Asked:
        connections = count()

        async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            writer.write(answer if next(connections) % 2 else b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
            writer.close()

        async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(open_loop, port, 100.0, [request("/", b"{}")], 0.5, retries=1)

    asked = asyncio.run(asyncio.wait_for(case(), 20))
    assert asked.statuses.total() == 50 and asked.statuses[200] == len(asked.seconds)
    assert asked.statuses[200] > 0 and asked.retried >= max(1, asked.statuses[0])


def test_an_answers_time_holds_what_it_waited_to_be_taken() -> None:
    """A server that takes nothing for half a second, and then answers at once."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:

        def serve_late() -> None:
            time.sleep(0.5)
            listening.settimeout(5.0)
            for _ in range(20):
                connection, _ = listening.accept()
                threading.Thread(target=answer, args=(connection,)).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                while connection.recv(4096):
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        server = threading.Thread(target=serve_late)
        server.start()
        asked = open_loop(listening.getsockname()[1], 100.0, [request("/", b"{}")], 0.2)
        server.join()
    assert asked.statuses == {200: 20} and 0.2 < min(asked.seconds) <= max(asked.seconds) < 5.0


def test_what_is_no_http_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 mail ready\r\n")
                connection.recv(4096)

        server = threading.Thread(target=talk)
        server.start()
        with pytest.raises(RuntimeError, match="answered nothing"):
            closed_loop(listening.getsockname()[1], 1, [request("/", b"{}")], 0.2)
        server.join()
