"""Requests that are refused before their bodies are read."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from serving.admission import ALWAYS, Admission
from serving.api.rerank import PATHS
from serving.errors import ApiError
from serving.keys import KeyRing, create_key
from tests.unit.serving.whole_application import whole_application

ROUTES = ("/v1/embeddings", *PATHS)
NO_JSON = {"content": b"{", "headers": {"content-type": "application/json"}}


def refuse(tokens: Admission) -> None:
    """Ask for room where there is none."""
    with pytest.raises(ApiError), tokens.admitted(1):
        pytest.fail("was let in")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[TestClient]:
    """An application in which more waits than ever may."""
    api = whole_application(tmp_path)
    tokens: Admission = api.state.tokens
    tokens.expect(1.0)
    with ExitStack() as waiting, TestClient(api) as client:
        waiting.enter_context(tokens.admitted(100 * tokens.full))
        refuse(tokens)
        yield client
    api.state.index.close()


@pytest.mark.parametrize("route", ROUTES)
def test_no_body_is_read_where_the_queue_is_full(full: TestClient, route: str) -> None:
    answer = full.post(route, **NO_JSON)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "overloaded", "queue_full")
    assert answer.headers["retry-after"] == "60" and error["request_id"] == answer.headers["x-request-id"]
    assert "total;dur=" in answer.headers["server-timing"]


def test_refusals_are_counted_by_the_path_of_their_route(full: TestClient) -> None:
    for _ in range(3):
        full.post("/v1/embeddings", **NO_JSON)
    families = text_string_to_metric_families(full.get("/metrics").text)
    counted = [one for family in families for one in family.samples if one.name == "catena_requests_total"]
    (refused,) = [one for one in counted if one.labels["status"] == "429"]
    assert (refused.labels["route"], refused.value) == ("/v1/embeddings", 3)


def test_what_does_not_wait_is_answered_as_ever(full: TestClient) -> None:
    assert full.post("/v1/search", json={"query": "king", "mode": "bm25"}).status_code == 200
    assert full.post("/v1/search", **NO_JSON).status_code == 400
    assert full.get("/v1/embeddings").status_code == 405


def test_bodies_are_read_again_once_something_is_done(tmp_path: Path) -> None:
    api = whole_application(tmp_path)
    tokens: Admission = api.state.tokens
    tokens.expect(1.0)
    client = TestClient(api)
    with tokens.admitted(ALWAYS * tokens.full - 1):
        with tokens.admitted(1):
            refuse(tokens)
            assert client.post("/v1/embeddings", **NO_JSON).status_code == 429
        assert client.post("/v1/embeddings", **NO_JSON).status_code == 400
    api.state.index.close()


def test_keys_and_scopes_come_first(tmp_path: Path) -> None:
    _, searcher = create_key(tmp_path / "keys.json", "shop", ["search"])
    _, embedder = create_key(tmp_path / "keys.json", "batch", ["embed"])
    api = whole_application(tmp_path, ring=KeyRing(tmp_path / "keys.json"))
    tokens: Admission = api.state.tokens
    tokens.expect(1.0)
    client, body = TestClient(api), {"input": "a text"}
    with tokens.admitted(100 * tokens.full):
        refuse(tokens)
        statuses = {
            given: client.post("/v1/embeddings", json=body, headers={"Authorization": f"Bearer {given}"}).status_code
            for given in ("nobody", searcher, embedder)
        }
    assert statuses == {"nobody": 401, searcher: 403, embedder: 429}
    api.state.index.close()
