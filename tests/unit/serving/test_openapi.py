"""The OpenAPI document and the form of errors, without a cluster."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.types import Message

from retrieval.config import IndexConfig
from retrieval.filters import parse_filter
from retrieval.index import IndexMeta
from retrieval.steps import BUILT_IN
from serving.api.__main__ import described
from serving.api.errors import answer_errors, documented
from serving.api.http import HeadAsGet
from serving.api.middleware import RequestId, Unforeseen
from serving.errors import STATUS, ApiError
from serving.questions import checked_query
from serving.schemas import KnownLink, Readiness, SearchRequest

REPOSITORY = Path(__file__).resolve().parents[3]
EMPTY = IndexMeta(
    config=IndexConfig(), location="", points=0, dim=1, encoder="e", precision="fp32", mean_length=1.0, filter_keys=()
)


@pytest.fixture
def client() -> TestClient:
    """An application with a route for each way to go wrong."""
    broken = FastAPI()
    answer_errors(broken)
    broken.add_middleware(HeadAsGet)
    broken.add_middleware(Unforeseen)
    broken.add_middleware(RequestId, told=False)

    @broken.post("/search")
    async def search(request: SearchRequest) -> str:
        return checked_query(EMPTY, request, BUILT_IN["hybrid"], 10).text

    @broken.get("/text/{id:any}")
    async def text(id: str) -> str:
        return id

    @broken.get("/fail/{how}", responses=documented("not_found"))
    async def fail(how: str) -> str:
        if how == "known":
            raise ApiError("not_found", "there is none", "how")
        if how == "http":
            raise HTTPException(status_code=418, detail="teapot")
        raise RuntimeError("secret detail")

    return TestClient(broken, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"query": ""}, "query", "at least 1 character"),
        ({"query": "x", "top_k": 0}, "top_k", "greater than or equal to 1, got 0"),
        ({"query": "x", "top_k": 101}, "top_k", "less than or equal to 100, got 101"),
        ({"query": "x", "mode": "magic"}, "mode", "'hybrid', 'dense', 'bm25' or 'late'"),
        ({"query": "x", "topk": 3}, "topk", "Extra inputs are not permitted"),
        ({"query": "x", "filter": "kind"}, "filter", "valid dictionary, got 'kind'"),
        ({}, "query", "Field required"),
    ],
)
def test_a_bad_request_names_its_field(client: TestClient, body: object, param: str, message: str) -> None:
    answer = client.post("/search", json=body)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request", param)
    assert message in error["message"]


@pytest.mark.parametrize(
    ("path", "status", "type_", "message"),
    [
        ("/fail/known", 404, "not_found", "there is none"),
        ("/fail/http", 418, "bad_request", "teapot"),
        ("/fail/else", 500, "internal", "the server failed on this request; the reason is in its log"),
        ("/nowhere", 404, "not_found", "Not Found"),
        ("/search", 405, "method_not_allowed", "Method Not Allowed"),
    ],
)
def test_every_error_has_the_one_form(client: TestClient, path: str, status: int, type_: str, message: str) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.json()["error"].items() >= {"type": type_, "message": message}.items()


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("status", "body", "headers", "message"),
    [
        (400, b'{"query": ', {"content-type": JSON}, "the body is not JSON: Expecting value"),
        (400, b"", {"content-type": JSON}, "the body is empty or null"),
        (400, b"null", {"content-type": JSON}, "the body is empty or null"),
        (422, b"[1]", {"content-type": JSON}, "the body is a JSON array; send a JSON object"),
        (422, b'"x"', {"content-type": JSON}, "the body is a JSON string"),
        (422, b"5", {"content-type": JSON}, "the body is a JSON number"),
        (422, b"true", {"content-type": JSON}, "the body is a JSON boolean"),
        (415, b'{"query": "x"}', {}, "the header Content-Type is missing; send the body as application/json"),
        (415, b'{"query": "x"}', {"content-type": "text/plain"}, "the header Content-Type is 'text/plain'"),
        (415, b"query=x", {"content-type": FORM}, f"the header Content-Type is '{FORM}'"),
        (400, '{"query": "é"}'.encode("latin-1"), {"content-type": JSON}, "the body is not UTF-8 at byte 11"),
        (
            415,
            gzip.compress(b'{"query": "x"}', mtime=0),
            {"content-type": JSON, "content-encoding": "gzip"},
            "Content-Encoding is 'gzip'",
        ),
        (400, b'{"query": "x", "filter": ' + b"[" * 100_000, {"content-type": JSON}, "the body is nested too deeply"),
        (400, b'{"top_k": ' + b"9" * 5000 + b"}", {"content-type": JSON}, "the body is not JSON: Exceeds the limit"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_body_that_cannot_be_read_is_named(
    client: TestClient, status: int, body: bytes, headers: dict[str, str], message: str
) -> None:
    answer = client.post("/search", content=body, headers=headers)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (STATUS[error["type"]], error["param"]) == (status, None)
    assert message in error["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"query": "\\ud800"}', "query"),
        (b'{"query": "x", "mode": "\\ud800"}', "mode"),
        (b'{"query": "x", "\\ud800": 1}', None),
        (b'{"query": "x", "filter": {"lang": "\\ud800"}}', "filter"),
        (b'{"query": "x", "filter": {"\\ud800": "de"}}', "filter"),
        (b'{"query": "x", "filter": {"not": [{"lang": ["\\udfff"]}]}}', "filter"),
    ],
)
def test_a_lone_surrogate_is_a_fault_of_the_request(client: TestClient, body: bytes, param: str | None) -> None:
    answer = client.post("/search", content=body, headers={"content-type": JSON})
    assert answer.status_code == 422
    assert "valid" in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ({"year": {"gte": [1]}}, "[1] is no string"),
        ({"lang": None}, "a value is null"),
        ({"lang": {"a": 1}}, "filter by 'lang': no bound 'a'"),
        ({"kind": "k"}, "no filter by 'kind'; allowed: document_id"),
    ],
)
def test_param_is_a_field_of_the_request(client: TestClient, filter_: object, message: str) -> None:
    error = client.post("/search", json={"query": "x", "filter": filter_}).json()["error"]
    assert error["param"] == "filter"
    assert message in error["message"]


def test_a_method_that_is_not_allowed_says_which_are(client: TestClient) -> None:
    assert client.get("/search").headers["allow"] == "POST"
    assert client.put("/fail/known").headers["allow"] == "GET, HEAD"
    assert client.head("/search").headers["allow"] == "POST"


def test_head_answers_as_get_without_the_body(client: TestClient) -> None:
    same = {"x-request-id": "one"}
    whole, head = client.get("/text/a", headers=same), client.head("/text/a", headers=same)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == whole.headers
    assert client.head("/nowhere").status_code == 404


ODD_IDS = ["a/b", "x\ny", "x\n", "\n", "a\rb", "100%", "%2F", "..", "/lead", "trail/", "a//b", "日本", "a\0b", "?", "#"]


@pytest.mark.parametrize("id_", ODD_IDS)
def test_any_id_is_found_in_a_path(client: TestClient, id_: str) -> None:
    """The path as a server hands it on, decoded once; clients that tidy paths are not in between."""
    answer: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        answer.append(message)

    scope = {"type": "http", "method": "GET", "path": f"/text/{id_}", "query_string": b"", "headers": []}
    asyncio.run(client.app(scope, receive, send))
    assert [message.get("status") for message in answer] == [200, None]
    assert json.loads(answer[1]["body"]) == id_


def test_an_infinite_number_is_an_error_and_not_null() -> None:
    with pytest.raises(ValidationError, match="finite"):
        KnownLink(id="a", title="A", relation="r", weight=float("inf"), direction="out")
    with pytest.raises(ValidationError, match="finite"):
        Readiness(encoder="e", passages=1, encode_ms=float("nan"), search_ms=1.0)


def test_the_document_describes_routes_errors_and_examples() -> None:
    document = described()
    assert set(document["paths"]) == {
        *("/v1/search", "/v1/rank", "/v1/bundles", "/v1/embeddings", "/v1/rerank", "/v2/rerank", "/rerank"),
        *("/v1/documents", "/v1/documents/{id}", "/v1/links/{id}", "/v1/links:score", "/healthz", "/readyz"),
        *("/v1/models", "/v1/models/{id}", "/v1/feedback", "/v1/releases", "/metrics"),
    }
    search = document["paths"]["/v1/search"]["post"]
    assert search["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
    assert document["components"]["schemas"]["SearchRequest"]["examples"]


def test_the_document_that_is_shipped_is_that_of_the_routes() -> None:
    shipped = json.loads((REPOSITORY / "docs" / "openapi.json").read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(described())), "python -m serving.api > docs/openapi.json"


def test_every_route_says_what_it_is_for_and_which_errors_it_has() -> None:
    for path, methods in described()["paths"].items():
        for method, route in methods.items():
            assert route.get("description"), f"{method} {path} has no docstring"
            assert path in ("/healthz", "/readyz") or {"401", "403"} <= set(route["responses"]), path


def test_shipped_examples_are_valid_requests() -> None:
    for example in SearchRequest.model_json_schema()["examples"]:
        parse_filter(SearchRequest.model_validate(example).filter)


@pytest.mark.parametrize("query", ["", " ", "\n\u00a0\t"])
def test_a_blank_question_is_refused(query: str) -> None:
    with pytest.raises(ValidationError):
        SearchRequest.model_validate({"query": query})
    assert SearchRequest.model_validate({"query": f"{query}x\n"}).query == f"{query}x\n"
