"""What a stranger may send: every route answers it with a typed error or takes it, and never with 5xx."""

import asyncio
import json
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serving.schemas import ErrorBody
from tests.unit.serving.capability_rankers import service_of
from tests.unit.serving.whole_application import whole_application

POSTS = {
    "/v1/search": {"query": "word4"},
    "/v1/embeddings": {"input": ["a text", "another"]},
    "/v1/rerank": {"query": "a", "documents": ["b", "c"]},
    "/v2/rerank": {"query": "a", "documents": ["b", "c"]},
    "/rerank": {"query": "a", "texts": ["b", "c"]},
    "/v1/links:score": {"pairs": [["d0_0", "d1_0"]]},
    "/v1/rank": {"intent": "book a table", "candidates": ["maps", "new"], "boosts": {"maps": 2.0}, "explain": True},
    "/v1/feedback": {"events": [{"request_id": "r", "action": "shown"}]},
}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return whole_application(tmp_path_factory.mktemp("whole"), capabilities=service_of())


@pytest.fixture(scope="module")
def client(api: FastAPI) -> Iterator[TestClient]:
    with TestClient(api, raise_server_exceptions=False) as client:
        yield client


def refused(answer: httpx.Response) -> str:
    """The type of a typed error, which names the request."""
    error = ErrorBody.model_validate_json(answer.content).error
    assert 400 <= answer.status_code < 500 and error.request_id == answer.headers["x-request-id"]
    return error.type


@pytest.mark.parametrize("path", POSTS)
def test_what_is_right_is_answered(client: TestClient, path: str) -> None:
    answer = client.post(path, json=POSTS[path])
    assert answer.is_success and "server-timing" in answer.headers


BODIES = {
    "empty": b"",
    "null": b"null",
    "text": b"hello",
    "list": b"[]",
    "cut": b'{"query": "a',
    "nan": b'{"query": NaN, "input": NaN, "texts": NaN, "events": NaN, "pairs": NaN}',
    "infinity": b'{"query": 1e999, "input": 1e999, "texts": 1e999, "events": 1e999, "pairs": 1e999}',
    "huge number": b'{"query": ' + b"9" * 10_000 + b"}",
    "nested": b'{"query": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "nested objects": b'{"filter": ' * 20_000 + b"1" + b"}" * 20_000,
    "latin-1": '{"query": "é", "input": "é", "text": "é"}'.encode("latin-1"),
    "lone surrogate": b'{"query": "\\ud800", "input": "\\ud800", "texts": ["\\ud800"], "text": "\\ud800"}',
    "filter of a lone surrogate": b'{"query": "a", "filter": {"lang": "\\ud800"}}',
    "filter in filters": b'{"query": "a", "filter": ' + b'{"not": ' * 300 + b"{}" + b"}" * 301,
    "wrong types": b'{"query": {}, "input": {}, "documents": 5, "texts": {}, "events": "x"}',
    "unknown field": b'{"query": "a", "input": "a", "documents": ["a"], "texts": ["a"], "events": [], "sudo": true}',
    "duplicate keys": b'{"query": 1, "query": [], "input": 1, "texts": 1, "events": 1, "pairs": [], "pairs": 1}',
    "zero bytes": b"\0" * 100,
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_none_is_refused(client: TestClient, path: str, body: bytes) -> None:
    refused(client.post(path, content=body, headers=JSON))


@pytest.mark.parametrize("path", POSTS)
def test_a_body_of_fifty_megabytes_is_refused(client: TestClient, path: str) -> None:
    assert refused(client.post(path, content=b"[" + b"1," * 25_000_000 + b"1]", headers=JSON)) == "too_large"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {"input": ["a"] * 100_000}, "input"),
        ("/v1/embeddings", {"input": "a" * 200_000}, "input"),
        ("/v1/rerank", {"query": "a", "documents": ["b"] * 5000}, "documents"),
        ("/v1/rerank", {"query": "a" * 30_000, "documents": ["b"]}, "query"),
        ("/rerank", {"query": "a", "texts": ["b" * 200_000]}, "texts"),
        ("/v1/search", {"query": "a" * 30_000}, "query"),
        ("/v1/search", {"query": "a", "filter": {f"k{n}": n for n in range(10_000)}}, "filter"),
        ("/v1/search", {"query": "a", "top_k": 10**30}, "top_k"),
        ("/v1/embeddings", {"input": "a", "dimensions": -(10**30)}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "model": "../../etc/passwd"}, "model"),
        ("/v1/embeddings", {"input": ["a", 5]}, "input"),
        ("/v1/search", {"query": "a", "filter": {"__proto__": {"gte": 1}}}, "filter"),
        ("/v1/search", {"query": "a", "pipeline": "../default"}, "pipeline"),
        ("/v1/search", {"query": "a", "pipeline": "p" * 100_000}, "pipeline"),
        ("/v1/search", {"query": "a", "cursor": "*" * 100_000}, "cursor"),
        ("/v1/search", {"query": "a", "cursor": "9999.hybrid.0." + "0" * 32}, "cursor"),
        ("/v1/search", {"query": "a", "cursor": "\u0661.hybrid.0." + "0" * 32}, "cursor"),
        ("/v1/search", {"query": "a", "explain": "maybe"}, "explain"),
        ("/v1/embeddings", {"input": [1] * 100_001}, "input"),
        ("/v1/embeddings", {"input": [[1]] * 100_000}, "input"),
        ("/v1/embeddings", {"input": [1, 10**30]}, "input"),
        ("/v1/embeddings", {"input": [[1, -1]]}, "input"),
        ("/v1/embeddings", {"input": [1.5, 2]}, "input"),
        ("/v1/embeddings", {"input": [[[1]]]}, "input"),
        ("/v1/embeddings", {"input": [1, 2]}, "input"),
        ("/v1/embeddings", {"input": "a", "output": ["tokens"]}, "output"),
        ("/v1/embeddings", {"input": "a", "output": ["dense"] * 100_000}, "output"),
        ("/v1/embeddings", {"input": "a", "output": "dense"}, "output"),
        ("/v1/links:score", {"pairs": [["a", "b"]] * 100_000}, "pairs"),
        ("/v1/links:score", {"pairs": [[1, 2]] * 100_000}, "pairs"),
        ("/v1/links:score", {"pairs": [["a" * 100_000, "b"]]}, "pairs"),
        ("/v1/links:score", {"pairs": [["../../etc/passwd", "d0_0"]]}, "pairs"),
        ("/v1/links:score", {"pairs": {"a": "b"}}, "pairs"),
        ("/v1/links:score", {"text": "a" * 100_000}, "text"),
        ("/v1/links:score", {"text": "a", "targets": ["d0_0"] * 100_000}, "targets"),
        ("/v1/links:score", {"text": "a", "links": ["\x00"]}, "links"),
        ("/v1/links:score", {"text": "a", "top_k": 10**30}, "top_k"),
        ("/v1/links:score", {"text": "\u200b", "title": "t" * 5000}, "title"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_too_much_of_a_field_is_refused_by_its_name(client: TestClient, path: str, body: object, param: str) -> None:
    answer = client.post(path, json=body)
    refused(answer)
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("id_", ["../../etc/passwd", "%00", "'; DROP TABLE documents; --", "é" * 5000, "a" * 8000, " "])
@pytest.mark.parametrize("route", ["documents", "links"], ids=str)
def test_an_odd_id_is_not_found(client: TestClient, route: str, id_: str) -> None:
    assert (
        refused(client.get(f"/v1/{route}/" + httpx.URL("/x").copy_with(path="/" + id_).raw_path.decode()[1:]))
        == "not_found"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-id": "a\tb"},
        {"x-request-id": "é" * 100},
        {"x-request-timeout-ms": "1e9"},
        {"accept": "text/html;q=\x7f"},
        {"content-encoding": "br"},
        {"content-type": "application/json; charset=utf-7"},
        {"authorization": "Bearer " + "a" * 10_000},
    ],
    ids=lambda value: str(value)[:40],
)
def test_odd_headers_do_no_harm(client: TestClient, headers: dict[str, str]) -> None:
    sent = {**JSON, **{name: value.encode("latin-1") for name, value in headers.items()}}
    answer = client.post("/v1/search", content=b'{"query": "word4"}', headers=sent)
    assert answer.is_success or refused(answer)
    assert "\t" not in answer.headers["x-request-id"]


def test_a_caller_that_goes_away_leaves_no_trace(api: FastAPI) -> None:
    """Its request is dropped in mid-body; the next one is answered."""

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/search",
        "raw_path": b"/v1/search",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"100")],
    }

    async def ask() -> int:
        await api(scope, receive, send)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://catena") as http:
            return (await http.post("/v1/search", json={"query": "word4"})).status_code

    assert asyncio.run(ask()) == 200
    assert all(message.get("status", 400) == 400 for message in sent)


def test_of_a_list_of_what_does_not_fit_the_first_alone_is_told(client: TestClient) -> None:
    """Else 300,000 errors would take seconds, in which nothing else is answered."""
    body = b'{"input": ["a", ' + b"{}," * 300_000 + b"1]}"
    started = time.perf_counter()
    assert refused(client.post("/v1/embeddings", content=body, headers=JSON)) == "invalid_request"
    assert time.perf_counter() - started < 2.0


def test_errors_never_show_a_traceback(client: TestClient) -> None:
    for path in POSTS:
        for body in BODIES.values():
            text = client.post(path, content=body, headers=JSON).text
            assert "Traceback" not in text and ".py" not in json.dumps(text)
