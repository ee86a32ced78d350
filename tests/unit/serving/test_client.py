"""The client: typed answers, retries that wait as they are told, errors with all that the service said."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from serving import client as module
from serving.client import AsyncClient, Client, ServiceError
from serving.schemas import SearchResponse
from serving.schemas.embeddings import Embedding
from serving.schemas.links import LinkScores
from serving.schemas.models import Models
from tests.unit.serving.whole_application import whole_application

SEARCH = {"query": "q", "mode": "bm25", "results": []}
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, without waiting for them."""
    pauses: list[float] = []

    async def asleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(module.time, "sleep", pauses.append)
    monkeypatch.setattr(module.asyncio, "sleep", asleep)
    return pauses


def error(status: int, **headers: str) -> httpx.Response:
    body = {"type": "overloaded", "message": "come again", "param": None, "code": None, "request_id": "seven"}
    return httpx.Response(status, json={"error": body}, headers=headers)


def asked(handler: Handler, kind: str, retries: int = 4) -> SearchResponse:
    """A search by either client."""
    transport = httpx.MockTransport(handler)
    if kind == "sync":
        with Client("http://catena", retries=retries, transport=transport) as sync:
            return sync.search("q", mode="bm25")

    async def ask() -> SearchResponse:
        async with AsyncClient("http://catena", retries=retries, transport=transport) as client:
            return await client.search("q", mode="bm25")

    return asyncio.run(ask())


BOTH = pytest.mark.parametrize("kind", ["sync", "async"])


@BOTH
def test_what_the_service_cannot_take_now_is_asked_again_when_it_says(kind: str, slept: list[float]) -> None:
    answers = iter([error(429, **{"retry-after": "7"}), error(503), httpx.Response(200, json=SEARCH)])
    assert asked(lambda _: next(answers), kind).mode == "bm25"
    assert slept[0] == 7.0 and 0.2 <= slept[1] <= 0.4 and len(slept) == 2


@BOTH
def test_a_connection_that_breaks_is_made_again(kind: str, slept: list[float]) -> None:
    calls: Iterator[int] = iter(range(9))

    def handler(request: httpx.Request) -> httpx.Response:
        if next(calls) < 2:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, json=SEARCH)

    assert asked(handler, kind).results == []
    assert len(slept) == 2


@BOTH
def test_after_the_last_retry_the_error_is_told(kind: str, slept: list[float]) -> None:
    with pytest.raises(ServiceError) as raised:
        asked(lambda _: error(429), kind, retries=2)
    told = raised.value
    assert told.detail is not None
    assert (told.status, told.detail.type, told.detail.request_id) == (429, "overloaded", "seven")
    assert "the service answered 429: come again" in str(told) and len(slept) == 2
    assert 0.1 <= slept[0] <= 0.2 <= slept[1] <= 0.4


@BOTH
@pytest.mark.parametrize("status", [422, 500])
def test_what_the_service_itself_calls_wrong_is_not_asked_again(kind: str, status: int, slept: list[float]) -> None:
    with pytest.raises(ServiceError):
        asked(lambda _: error(status), kind)
    assert slept == []


@BOTH
def test_an_answer_of_something_in_front_is_asked_again_and_then_shown(kind: str, slept: list[float]) -> None:
    with pytest.raises(ServiceError, match="answered 502: <html>bad gateway"):
        asked(lambda _: httpx.Response(502, text="<html>bad gateway"), kind, retries=2)
    assert len(slept) == 2
    answers = iter([httpx.Response(500, text="Internal Server Error"), httpx.Response(200, json=SEARCH)])
    assert asked(lambda _: next(answers), kind).mode == "bm25"


@BOTH
def test_a_service_that_is_not_there_is_named(kind: str, slept: list[float]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ServiceError, match="does not answer: refused"):
        asked(refuse, kind, retries=1)
    assert len(slept) == 1
    with pytest.raises(ServiceError, match="does not answer"), Client("127.0.0.1:8000") as client:
        client.models()
    assert len(slept) == 1


def test_one_text_is_no_list() -> None:
    with pytest.raises(TypeError, match="a list"), Client("http://catena") as client:
        client.embed("one text")


@BOTH
def test_long_lists_are_sent_in_parts_and_come_back_in_order(kind: str) -> None:
    sizes: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        texts = json.loads(request.content)["input"]
        sizes.append(len(texts))
        rows = np.array([[int(text), 1] for text in texts], "<f2")
        return httpx.Response(200, content=rows.tobytes(), headers={"x-shape": f"{len(texts)},2"})

    async def ask() -> np.ndarray:
        async with AsyncClient("http://catena", transport=httpx.MockTransport(handler)) as client:
            return await client.embed([str(n) for n in range(150)])

    if kind == "sync":
        with Client("http://catena", transport=httpx.MockTransport(handler)) as client:
            vectors = client.embed([str(n) for n in range(150)])
            assert client.embed([]).shape == (0, 0)
    else:
        vectors = asyncio.run(ask())
    assert vectors[:, 0].tolist() == list(range(150)) and vectors.dtype == np.float32
    assert sorted(sizes) == [22, 64, 64]


def test_ids_of_any_kind_and_the_key_reach_the_service() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"id": "a/b ?#", "title": "t", "known": [], "discovered": []})

    with Client("http://catena", key="catena_1_2", transport=httpx.MockTransport(handler)) as client:
        assert client.links("a/b ?#", limit=3).title == "t"
    assert seen[0].url.raw_path == b"/v1/links/a%2Fb%20%3F%23?limit=3"
    assert seen[0].headers["authorization"] == "Bearer catena_1_2"


PAGES = {"*": ("a", "one"), "one": ("b", "two"), "two": ("c", None)}


def paged(request: httpx.Request) -> httpx.Response:
    asked = json.loads(request.content)
    assert (asked["query"], asked["top_k"]) == ("q", 1)
    document, cursor = PAGES[asked["cursor"]]
    row = {"document_id": document, "title": "t", "text": "x", "score": 1, "passage_id": "p"}
    results = [{**row, "start": 0, "end": 1, "metadata": {}}]
    return httpx.Response(200, json={**SEARCH, "results": results, "next_cursor": cursor})


@BOTH
def test_pages_are_followed_to_the_last(kind: str) -> None:
    transport = httpx.MockTransport(paged)

    async def ask() -> list[str]:
        async with AsyncClient("http://catena", transport=transport) as client:
            return [page.results[0].document_id async for page in client.pages("q", top_k=1)]

    if kind == "async":
        assert asyncio.run(ask()) == ["a", "b", "c"]
        return
    with Client("http://catena", transport=transport) as client:
        assert [page.results[0].document_id for page in client.pages("q", top_k=1)] == ["a", "b", "c"]


@BOTH
def test_every_new_call_works_on_the_whole_application(kind: str, tmp_path: Path) -> None:
    """Typed answers of the routes themselves: sync over the test client's transport, async over ASGI."""
    api = whole_application(tmp_path)
    texts = [f"word{number} bread" for number in range(70)]
    pairs = [("d0_0", f"d1_{number % 15}") for number in range(1100)]

    async def ask() -> tuple[SearchResponse, list[Embedding], LinkScores, LinkScores, Models]:
        async with AsyncClient("http://catena", transport=httpx.ASGITransport(api)) as client:
            return (
                await client.search("word4", explain=True, pipeline="exact"),
                await client.embeddings(texts),
                await client.score_pairs(pairs),
                await client.links_of_text("bread in the oven", top_k=3),
                await client.models(),
            )

    if kind == "async":
        found, rows, scores, likely, models = asyncio.run(ask())
    else:

        def passed_on(request: httpx.Request) -> httpx.Response:
            answer = http.request(request.method, request.url.path, content=request.content, headers=request.headers)
            return httpx.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))

        with TestClient(api) as http, Client("http://catena", transport=httpx.MockTransport(passed_on)) as client:
            found, rows = client.search("word4", explain=True, pipeline="exact"), client.embeddings(texts)
            scores, likely = client.score_pairs(pairs), client.links_of_text("bread in the oven", top_k=3)
            models = client.models()
    assert found.pipeline == "exact" and found.results[0].explanation is not None
    assert [row.index for row in rows] == list(range(70))
    assert all(row.embedding is not None and row.sparse is not None and row.tokens is None for row in rows)
    assert len(scores.links) == 1100 and scores.calibrated
    assert [one.target for one in scores.links] == [target for _, target in pairs]
    assert len(likely.links) == 3 and likely.links[0].source is None
    assert [one.id for one in models.pipelines] == ["default", "bm25", "dense", "hybrid", "exact", "ranked", "strict"]


@BOTH
def test_documents_are_put_in_parts_and_counted_together(kind: str) -> None:
    parts: list[list[str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        ids = body["ids"] if request.method == "DELETE" else [one["id"] for one in body["documents"]]
        parts.append(ids)
        counted = {"deleted": len(ids)} if request.method == "DELETE" else {"created": len(ids) - 1, "replaced": 1}
        return httpx.Response(200, json={**counted, "live": 7, "version": len(parts)})

    documents = [{"id": str(n), "text": "t" * (400_000 if n < 3 else 1)} for n in range(130)]
    documents.insert(5, {"id": "4", "text": "twice: in a part of its own"})
    ids = [str(n) for n in range(1500)]

    async def ask() -> tuple[module.Written, module.Written]:
        async with AsyncClient("http://catena", transport=httpx.MockTransport(handler)) as client:
            return await client.put_documents(documents), await client.delete_documents(iter(ids))

    if kind == "sync":
        with Client("http://catena", transport=httpx.MockTransport(handler)) as client:
            put, deleted = client.put_documents(iter(documents)), client.delete_documents(ids)
            with pytest.raises(TypeError, match="a list"):
                client.delete_documents("one")
    else:
        put, deleted = asyncio.run(ask())
    assert [len(part) for part in parts] == [1, 1, 3, 64, 62, 1000, 500]
    assert [id_ for part in parts[:5] for id_ in part] == [one["id"] for one in documents]
    assert (put.created, put.replaced, put.live, put.version) == (126, 5, 7, 5)
    assert (deleted.deleted, deleted.version) == (1500, 7)
