"""The client of the serving benchmark: it counts what it is answered, and holds to the rate it is given."""

import threading
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from benchmarks.serving.load import closed_loop, open_loop, request


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
