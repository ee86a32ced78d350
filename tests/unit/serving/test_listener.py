"""A listening socket that replicas come to and go from, while clients ask."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from benchmarks.serving.load import free_port
from serving.listener import Listener, answering, take_socket


def app(name: str, held: asyncio.Event | None = None) -> FastAPI:
    """Says its name, once it may."""
    api = FastAPI()

    @api.get("/")
    async def told() -> str:
        if held is not None:
            await held.wait()
        return name

    return api


async def ask(port: int) -> str:
    async with httpx.AsyncClient(timeout=10) as client:
        answer: str = (await client.get(f"http://127.0.0.1:{port}/")).json()
        return answer


def test_who_asks_before_a_replica_is_there_waits_for_it() -> None:
    async def case() -> None:
        port = free_port()
        with Listener("127.0.0.1", port) as listener:
            waiting = asyncio.create_task(ask(port))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            async with answering(app("first"), take_socket(listener.path)):
                assert await waiting == "first"

    asyncio.run(case())


def test_a_replica_that_stops_finishes_what_it_has_and_the_next_one_takes_the_rest() -> None:
    async def case() -> None:
        held = asyncio.Event()
        port = free_port()
        with Listener("127.0.0.1", port) as listener:
            first = answering(app("first", held), take_socket(listener.path))
            await first.__aenter__()
            begun = asyncio.create_task(ask(port))
            await asyncio.sleep(0.2)
            ending = asyncio.create_task(first.__aexit__(None, None, None))
            await asyncio.sleep(0.3)
            assert not ending.done() and not begun.done()
            late = [asyncio.create_task(ask(port)) for _ in range(5)]
            async with answering(app("second"), take_socket(listener.path)):
                assert await asyncio.gather(*late) == ["second"] * 5
                held.set()
                assert await begun == "first"
                await ending
                assert await ask(port) == "second"

    asyncio.run(case())


def test_nobody_is_let_in_after_the_end() -> None:
    async def case() -> None:
        port = free_port()
        with Listener("127.0.0.1", port) as listener:
            take_socket(listener.path).close()
            path = listener.path
            assert path.parent.stat().st_mode & 0o077 == 0  # others of this machine cannot take it
        assert not path.parent.exists()
        with pytest.raises(httpx.ConnectError):
            await ask(port)
        with pytest.raises(OSError, match="No such file"):
            take_socket(Path(path))

    asyncio.run(case())


def test_an_address_that_is_taken_is_refused() -> None:
    port = free_port()
    with Listener("127.0.0.1", port), pytest.raises(OSError, match="in use"):
        Listener("127.0.0.1", port)
