"""Heads of requests without end, or that never come."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI, Request

from serving import listener, protocol
from serving.listener import answering
from serving.protocol import Answer, AtOnce

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def asked(
    case: Callable[[Callable[[], Awaitable[Streams]]], Awaitable[None]],
    at_once: AtOnce | None = None,
    arrived: list[str] | None = None,
) -> None:
    """Run a case over an application that counts the bytes of bodies; it is given what opens connections.

    The names of requests are put into ``arrived`` when the application gets them, whose bodies may be still to come.
    """
    api = FastAPI()

    @api.post("/")
    async def size(request: Request) -> int:
        if arrived is not None:
            arrived.append(request.headers["x-name"])
        return len(await request.body())

    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        async with answering(api, listening, at_once):
            await asyncio.wait_for(case(lambda: asyncio.open_connection("127.0.0.1", port)), 20)

    asyncio.run(run())


def post(body: bytes, more: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


@pytest.mark.parametrize("piece", [b"x-%d: " + b"a" * 1000 + b"\r\n", b"a" * 1000])
def test_a_head_without_end_is_refused(piece: bytes) -> None:
    """Many headers, and one that is very long."""

    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nx-long: ")
        for number in range(66):  # of 1000 bytes and more; who goes on after that may see a reset
            writer.write(piece % number if b"%" in piece else piece)
            await asyncio.sleep(0)
        status, body = await answer(reader)
        assert status == 431 and json.loads(body)["error"]["code"] == "head_too_large"
        assert await reader.read() == b""
        writer.close()

    asked(case)


def test_what_is_no_http_gets_a_typed_error() -> None:
    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await connect()
        writer.write(b"\x16\x03\x01\x02\x00 this is TLS\r\n\r\n")
        status, body = await answer(reader)
        assert status == 400 and json.loads(body)["error"]["code"] == "invalid_http"
        writer.close()

    asked(case)


def test_a_large_body_is_no_head() -> None:
    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await connect()
        for size in (10, 3_000_000, 100_000, 0):  # on one connection, one after the other
            writer.write(post(b"b" * size, b"x-some: " + b"c" * 60_000 + b"\r\n"))
            assert await answer(reader) == (200, str(size).encode())
        writer.write(post(b"one") + post(b"three"))  # pipelined
        assert [await answer(reader), await answer(reader)] == [(200, b"3"), (200, b"5")]
        writer.close()

    asked(case)


def test_who_does_not_send_a_head_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 0.3)

    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        silent, half, slow = await connect(), await connect(), await connect()
        half[1].write(b"POST / HTTP/1.1\r\nHost: a\r\n")
        slow[1].write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):  # its head was there in time: a body may take longer
            await asyncio.sleep(0.1)
            slow[1].write(b"b")
        assert await answer(slow[0]) == (200, b"8")
        assert await silent[0].read() == b"" and await half[0].read() == b""
        await asyncio.sleep(0.5)  # idle between two requests is no head that is late
        slow[1].write(post(b"two"))
        assert await answer(slow[0]) == (200, b"3")
        for _, writer in (silent, half, slow):
            writer.close()

    asked(case)


def test_a_request_that_comes_while_the_replica_stops_is_answered_and_is_the_last() -> None:
    api = FastAPI()

    @api.post("/")
    async def size(request: Request) -> int:
        return len(await request.body())

    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        stop = asyncio.Event()

        async def serve() -> None:
            async with answering(api, listening):
                await stop.wait()

        served = asyncio.create_task(serve())
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(post(b"abc"))
        assert await answer(reader) == (200, b"3")
        stop.set()
        while listening.fileno() != -1:  # it stops with its connections
            await asyncio.sleep(0.01)
        writer.write(post(b"abcd"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and b"connection: close" in head.lower()
        assert await reader.read() == b"4"
        writer.close()
        await served

    asyncio.run(asyncio.wait_for(run(), 20))


def refused_while(full: list[bool], seen: list[bytes]) -> AtOnce:
    """Refuses whatever is asked of ``/`` as long as it is full; it keeps what was refused, by the header x-name."""

    def at_once(url: bytes, headers: list[tuple[bytes, bytes]]) -> Answer | None:
        if url != b"/" or not full[0]:
            return None
        seen.append(dict(headers)[b"x-name"])
        return 429, b"content-length: 4\r\n\r\nfull"

    return at_once


def named(name: bytes, body: bytes = b"", more: bytes = b"") -> bytes:
    return post(body, b"x-name: %b\r\n%b" % (name, more))


def test_what_is_refused_at_once_leaves_its_connection_as_it_was() -> None:
    full, seen = [True], list[bytes]()

    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await connect()
        writer.write(named(b"a", b"b" * 100)[:-50])  # the answer does not wait for the body
        assert await answer(reader) == (429, b"full")
        writer.write(b"b" * 50 + named(b"b", b"b" * 200_000) + named(b"c"))  # and what was not read is no request
        assert [await answer(reader), await answer(reader)] == [(429, b"full"), (429, b"full")]
        full[0] = False
        writer.write(named(b"d", b"body"))
        assert await answer(reader) == (200, b"4")
        full[0] = True
        writer.write(named(b"e"))
        assert await answer(reader) == (429, b"full")
        writer.close()

    asked(case, refused_while(full, seen))
    assert seen == [b"a", b"b", b"c", b"e"]


def test_answers_keep_the_order_of_their_requests() -> None:
    """What comes behind a request that is not answered is not refused before it."""
    full, seen = [False], list[bytes]()

    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await connect()
        writer.write(named(b"a", b"abc")[:-1])
        while not full[0]:  # until its head was read
            await asyncio.sleep(0.01)
            full[0] = "a" in arrived
        writer.write(b"c" + named(b"b", b"abcd") + named(b"c"))
        assert [await answer(reader) for _ in range(3)] == [(200, b"3"), (200, b"4"), (200, b"0")]
        writer.write(named(b"d"))
        assert await answer(reader) == (429, b"full")
        writer.close()

    arrived: list[str] = []
    asked(case, refused_while(full, seen), arrived)
    assert seen == [b"d"]


@pytest.mark.parametrize(
    "request_", [named(b"a", b"ab", b"Connection: close\r\n"), named(b"a", b"ab").replace(b"HTTP/1.1", b"HTTP/1.0")]
)
def test_a_connection_that_ends_with_its_answer_is_the_applications(request_: bytes) -> None:
    seen: list[bytes] = []

    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await connect()
        writer.write(request_)
        assert await answer(reader) == (200, b"2")
        assert await reader.read() == b""
        writer.close()

    asked(case, refused_while([True], seen))
    assert seen == []


def test_other_methods_and_addresses_are_the_applications() -> None:
    seen: list[bytes] = []

    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        reader, writer = await connect()
        writer.write(named(b"a").replace(b"POST / ", b"GET / ") + named(b"b", b"abc").replace(b" / ", b" /?c=1 "))
        assert (await answer(reader))[0] == 405
        assert await answer(reader) == (200, b"3")
        writer.close()

    asked(case, refused_while([True], seen))
    assert seen == []


def test_who_was_refused_and_sends_no_more_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the body comes in a segment of its own, and then nothing; or it does not come."""

    async def case(connect: Callable[[], Awaitable[Streams]]) -> None:
        for rest in (b"b" * 50, b""):
            reader, writer = await connect()
            writer.write(named(b"a", b"b" * 100)[:-50])
            assert await answer(reader) == (429, b"full")
            writer.write(rest)
            assert await reader.read() == b""
            writer.close()

    monkeypatch.setattr(listener, "KEEP_ALIVE_S", 1)
    asked(case, refused_while([True], []))
