"""Requests that are refused before their bodies are read."""

import asyncio
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from starlette.types import Receive, Scope, Send

from serving.admission import ALWAYS, Admission
from serving.api.full import RefusedWhereFull
from serving.api.rerank import PATHS
from serving.errors import ApiError
from serving.keys import KeyRing, create_key
from serving.sight import Answered, log_answer
from serving.traces import Traces
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
    with ExitStack() as waiting, TestClient(api) as client:
        fill(tokens, waiting)
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


AT_ONCE, BEHIND = "/v1/embeddings", "/v1/embeddings?behind=1"  # the second one passes all of the middleware
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "shop=1"}


class Passed(RefusedWhereFull):
    """Notes what comes as far as the middleware that refuses."""

    queries: ClassVar[list[bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.queries.append(scope["query_string"])
        await super().__call__(scope, receive, send)


@dataclass
class Served:
    """An application that answers at a socket, and what was recorded of its answers."""

    client: httpx.AsyncClient
    tokens: Admission
    waiting: ExitStack
    records: list[Answered]


def fill(tokens: Admission, waiting: ExitStack, batches: int = 100) -> None:
    """Let in more than may wait, so that whatever comes next is refused."""
    tokens.expect(1.0)
    waiting.enter_context(tokens.admitted(batches * tokens.full))
    refuse(tokens)


@asynccontextmanager
async def served(folder: Path, ring: KeyRing | None = None, traces: Traces | None = None) -> AsyncIterator[Served]:
    """The whole application, full to the brim, over a socket of its own."""
    listening, records = socket.create_server(("127.0.0.1", 0)), list[Answered]()
    address = "http://{}:{}".format(*listening.getsockname())
    api = whole_application(folder, traces, ring=ring, sinks=[records.append, log_answer], listening=listening)
    tokens: Admission = api.state.tokens
    with ExitStack() as waiting:
        fill(tokens, waiting)
        async with api.router.lifespan_context(api), httpx.AsyncClient(base_url=address) as client:
            yield Served(client, tokens, waiting, records)
    api.state.index.close()


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The query strings of the requests that come as far as the middleware that refuses."""
    monkeypatch.setattr("serving.api.RefusedWhereFull", Passed)
    Passed.queries.clear()
    return Passed.queries


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-request-id": "a-1:2/3"}, {"x-request-id": "two words"}, {"x-user": "ann", **TRACE}, {"expect": "now"}],
)
def test_what_is_refused_at_once_is_answered_and_recorded_as_behind_the_middleware(
    tmp_path: Path, passed: list[bytes], caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    async def case() -> tuple[list[httpx.Response], list[Answered], bytes]:
        async with served(tmp_path) as service:
            paths = (AT_ONCE, BEHIND)
            answers = [await service.client.post(path, json={"input": "a"}, headers=headers) for path in paths]
            metrics = (await service.client.get("/metrics")).content
            return answers, service.records[:2], metrics

    with caplog.at_level(logging.INFO, "catena.access"):
        answers, records, metrics = asyncio.run(case())
    assert passed[0] == b"behind=1"  # the other one came not so far
    assert answers[0].status_code == answers[1].status_code == 429
    assert comparable(answers[0]) == comparable(answers[1])
    assert bare(records[0]) == bare(records[1]) and 0 < records[0].seconds < 1
    for answer, record in zip(answers, records, strict=True):
        told = answer.headers["x-request-id"]
        assert answer.json()["error"]["request_id"] == record.request_id == told
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert told == headers.get("x-request-id") or re.fullmatch("[0-9a-f]{32}", told)
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "catena.access"][:2]
    assert [line["request_id"] for line in lines] == [record.request_id for record in records]
    own = [{**line, "request_id": "", "ms": 0.0} for line in lines]
    assert own[0] == own[1] and own[0]["route"] == AT_ONCE
    families = text_string_to_metric_families(metrics.decode())
    counted = [one for family in families for one in family.samples if one.name == "catena_requests_total"]
    assert [(one.labels["route"], one.labels["status"], one.value) for one in counted] == [(AT_ONCE, "429", 2)]


def comparable(answer: httpx.Response) -> tuple[list[tuple[str, str]], dict[str, object]]:
    """Headers and error of an answer without what differs between any two."""
    id_ = answer.headers["x-request-id"]
    differ = {"date": "", "x-request-id": "", "server-timing": re.sub(r"[\d.]+", "0", answer.headers["server-timing"])}
    headers = sorted((name, differ.get(name, value)) for name, value in answer.headers.multi_items())
    return headers, {**answer.json()["error"], "request_id": answer.json()["error"]["request_id"] == id_}


def bare(record: Answered) -> Answered:
    """A record without what differs between any two."""
    return replace(record, request_id="", seconds=0.0, began=0.0)


def test_spans_of_both_are_alike(tmp_path: Path, passed: list[bytes]) -> None:
    exporter = InMemorySpanExporter()

    async def case() -> None:
        async with served(tmp_path, traces=Traces(exporter, "r1")) as service:
            for path in (AT_ONCE, BEHIND):
                await service.client.post(path, json={"input": "a"}, headers={**TRACE, "x-request-id": "one"})

    asyncio.run(case())
    first, second = exporter.get_finished_spans()
    assert passed == [b"behind=1"]
    assert (first.name, dict(first.attributes or {})) == (second.name, dict(second.attributes or {}))
    assert first.parent == second.parent and first.context.trace_id == second.context.trace_id


def test_where_keys_are_needed_nothing_is_refused_before_them(tmp_path: Path, passed: list[bytes]) -> None:
    _, embedder = create_key(tmp_path / "keys.json", "batch", ["embed"])

    async def case() -> list[int]:
        async with served(tmp_path, KeyRing(tmp_path / "keys.json")) as service:
            asked = ({}, {"Authorization": f"Bearer {embedder}"})
            answers = [await service.client.post(AT_ONCE, json={"input": "a"}, headers=one) for one in asked]
            return [answer.status_code for answer in answers]

    assert asyncio.run(case()) == [401, 429]
    assert passed == [b""]


def test_a_refusal_is_told_as_long_as_it_holds_and_the_next_one_anew(tmp_path: Path, passed: list[bytes]) -> None:
    async def case() -> list[tuple[int, str]]:
        async with served(tmp_path) as service:
            told = []
            for step in ("full", "free", "less full"):
                if step == "free":
                    service.waiting.close()
                elif step == "less full":
                    fill(service.tokens, service.waiting, 50)
                answer = await service.client.post(AT_ONCE, content=b"{", headers={"content-type": "application/json"})
                told.append((answer.status_code, answer.json()["error"]["message"]))
            return told

    told = asyncio.run(case())
    assert [status for status, _ in told] == [429, 400, 429]
    assert told[0][1] != told[2][1] and all("at its limit" in told[step][1] for step in (0, 2))
    assert passed == [b""]
