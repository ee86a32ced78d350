"""What a service shows of itself: metrics that a scraper reads, and a line of JSON for each answer."""

import json
import logging
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from starlette.middleware import Middleware

from serving.admission import Admission
from serving.api.errors import answer_errors
from serving.api.middleware import RequestId, Timed, Unforeseen
from serving.api.models import metrics_router
from serving.context import phase
from serving.sight import Metrics, log_answer


@pytest.fixture
def admission() -> Admission:
    return Admission(5.0, 1000)


@pytest.fixture
def client(admission: Admission) -> TestClient:
    metrics = Metrics({"tokens": admission}, {"replica": "r1"})
    api = FastAPI(
        middleware=[
            Middleware(RequestId, told=False),
            Middleware(Timed, sinks=[metrics, log_answer]),
            Middleware(Unforeseen),
        ]
    )
    answer_errors(api)
    api.include_router(metrics_router(metrics))

    @api.get("/items/{id}")
    async def item(id: str) -> str:
        with phase("search"):
            if id == "broken":
                raise KeyError(id)
            return id

    return TestClient(api, raise_server_exceptions=False)


def scraped(client: TestClient) -> dict[tuple[str, ...], float]:
    """Every sample: its name and the values of its labels by their names, but the replica's, the same in all."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    samples: Iterator = (s for family in text_string_to_metric_families(answer.text) for s in family.samples)
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label != "replica")): sample.value
        for sample in samples
    }


def test_answers_are_counted_by_route_and_status_and_never_by_value(client: TestClient) -> None:
    for path in ("/items/a", "/items/b", "/items/broken", "/nowhere", "/nowhere/else"):
        client.get(path)
    found = scraped(client)
    assert found["catena_requests_total", "/items/{id}", "200"] == 2
    assert found["catena_requests_total", "/items/{id}", "500"] == 1
    assert found["catena_requests_total", "none", "404"] == 2
    assert found["catena_request_seconds_count", "/items/{id}"] == 3
    assert found["catena_phase_seconds_count", "search", "/items/{id}"] == 3
    assert found["catena_request_seconds_bucket", "+Inf", "/items/{id}"] == 3


def test_what_waits_is_read_when_it_is_asked(client: TestClient, admission: Admission) -> None:
    assert scraped(client)["catena_waiting", "tokens"] == 0
    with admission.admitted(700):
        assert scraped(client)["catena_waiting", "tokens"] == 700
    assert scraped(client)["catena_waiting", "tokens"] == 0


def test_the_process_is_seen_and_each_metric_names_its_replica(client: TestClient) -> None:
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    samples = {sample.name: sample for family in families for sample in family.samples}
    assert samples["process_resident_memory_bytes"].value > 10 * 2**20
    assert samples["process_cpu_seconds_total"].value > 0
    assert all(sample.labels["replica"] == "r1" for sample in samples.values())


def test_each_answer_has_a_line_without_what_the_caller_sent(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "catena.access"):
        client.get("/items/secret?q=secret", headers={"x-request-id": "one"})
    (record,) = [record for record in caplog.records if record.name == "catena.access"]
    line = json.loads(record.getMessage())
    assert (line["request_id"], line["route"], line["status"], line["key"]) == ("one", "/items/{id}", 200, "")
    assert line["ms"] >= line["phases_ms"]["search"] >= 0 and "secret" not in record.getMessage()
