"""The OpenAPI document and the form of errors, without a cluster."""

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from pydantic import ValidationError

from retrieval.filters import parse_filter
from serving.app import api
from serving.errors import ApiError, answer_errors, documented
from serving.schemas import SearchRequest


@pytest.fixture
def client() -> TestClient:
    """An application with a route for each way to go wrong."""
    broken = FastAPI()
    answer_errors(broken)

    @broken.post("/search")
    async def search(request: SearchRequest) -> str:
        return request.query

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
        ("/fail/http", 418, "invalid_request", "teapot"),
        ("/fail/else", 500, "internal", "the server failed on this request; its log says why"),
        ("/nowhere", 404, "not_found", "Not Found"),
        ("/search", 405, "method_not_allowed", "Method Not Allowed"),
    ],
)
def test_every_error_has_the_one_form(client: TestClient, path: str, status: int, type_: str, message: str) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.json()["error"].items() >= {"type": type_, "message": message}.items()


def test_a_broken_body_is_told(client: TestClient) -> None:
    answer = client.post("/search", content='{"query": ', headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("the body is not JSON")


def test_the_document_describes_routes_errors_and_examples() -> None:
    document = api.openapi()
    assert set(document["paths"]) == {"/v1/search", "/v1/links/{id}", "/healthz"}
    search = document["paths"]["/v1/search"]["post"]
    assert search["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
    assert document["components"]["schemas"]["SearchRequest"]["examples"]


def test_shipped_examples_are_valid_requests() -> None:
    for example in SearchRequest.model_json_schema()["examples"]:
        parse_filter(SearchRequest.model_validate(example).filter)


@pytest.mark.parametrize("query", ["", " ", "\n\u00a0\t"])
def test_a_blank_question_is_refused(query: str) -> None:
    with pytest.raises(ValidationError):
        SearchRequest.model_validate({"query": query})
    assert SearchRequest.model_validate({"query": f"{query}x\n"}).query == f"{query}x\n"
