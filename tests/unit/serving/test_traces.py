"""A span for each request, its phases inside, in the caller's trace."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from data.errors import InputError
from serving import traces
from serving.api.middleware import RequestId, Timed, Unforeseen
from serving.config import ServeConfig
from serving.traces import Traces, check_traces, open_traces
from tests.unit.serving.whole_application import whole_application

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def client(exporter: InMemorySpanExporter, tmp_path: Path) -> Iterator[TestClient]:
    """The whole application; leaving it sends what was not sent."""
    with TestClient(whole_application(tmp_path, Traces(exporter, "r1")), raise_server_exceptions=False) as client:
        yield client


def finished(client: TestClient, exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The one span of a request, and its children, once the application has ended."""
    client.__exit__()
    spans = exporter.get_finished_spans()
    (root,) = [span for span in spans if span.kind is SpanKind.SERVER]
    children = [span for span in spans if span.parent is not None and span.parent.span_id == root.context.span_id]
    assert len(children) == len(spans) - 1
    return root, children


def test_a_request_is_a_span_and_its_phases_are_children_within_it(
    client: TestClient, exporter: InMemorySpanExporter
) -> None:
    client.post("/v1/search", json={"query": "secret words"}, headers={"x-request-id": "one"})
    root, children = finished(client, exporter)
    assert root.name == "POST /v1/search" and root.parent is None
    assert dict(root.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/search",
        "http.response.status_code": 200,
        "catena.request_id": "one",
        "catena.key": "",
    }
    assert root.resource.attributes["service.name"] == "catena"
    assert root.resource.attributes["service.instance.id"] == "r1"
    assert {"encode", "search", "queue", "infer"} <= {child.name for child in children}
    for child in children:
        assert child.context.trace_id == root.context.trace_id
        assert root.start_time - 1000 <= child.start_time <= child.end_time <= root.end_time + 1000  # of rounding
    began = {child.name: child.start_time for child in children}
    assert began["encode"] < began["search"]
    assert "secret" not in "".join(span.to_json() for span in exporter.get_finished_spans())


def test_the_span_belongs_to_the_trace_of_its_caller(client: TestClient, exporter: InMemorySpanExporter) -> None:
    client.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "shop=1"})
    root, _ = finished(client, exporter)
    assert f"{root.context.trace_id:032x}" == TRACE and f"{root.parent.span_id:016x}" == CALLER
    assert root.context.trace_state.get("shop") == "1"


def test_a_caller_that_does_not_sample_its_trace_leaves_the_span_out(
    client: TestClient, exporter: InMemorySpanExporter
) -> None:
    client.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{CALLER}-00"})
    client.__exit__()
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize("header", ["", "00-xyz", f"00-{'0' * 32}-{CALLER}-01", "\xff", "00-" + "a" * 5000])
def test_a_header_that_cannot_be_read_begins_a_trace(
    client: TestClient, exporter: InMemorySpanExporter, header: str
) -> None:
    answer = client.get("/v1/models", headers={"traceparent": header.encode("latin-1")})
    root, _ = finished(client, exporter)
    assert answer.status_code == 200 and root.parent is None


def test_probes_and_scrapes_make_no_spans(client: TestClient, exporter: InMemorySpanExporter) -> None:
    for path in traces.PROBES:
        assert client.get(path).status_code == 200
    client.__exit__()
    assert exporter.get_finished_spans() == ()


def test_a_failure_is_marked_and_a_mistake_of_the_caller_is_not(exporter: InMemorySpanExporter) -> None:
    kept = Traces(exporter)
    api = FastAPI()
    api.add_middleware(Unforeseen)
    api.add_middleware(Timed, sinks=[kept])
    api.add_middleware(RequestId, told=False)

    @api.get("/broken")
    async def broken() -> None:
        raise KeyError("secret")

    client = TestClient(api, raise_server_exceptions=False)
    client.get("/broken")
    client.get("/nowhere")
    kept.close()
    failed, missed = exporter.get_finished_spans()
    assert (failed.name, failed.status.status_code) == ("GET /broken", StatusCode.ERROR)
    assert (missed.name, missed.status.status_code) == ("GET", StatusCode.UNSET)


def test_a_collector_gets_the_spans() -> None:
    """Over HTTP, as the package sends them."""
    pytest.importorskip(traces.EXPORTER, reason="needs pip install 'catena[traces]'")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    taken: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            taken.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        kept = open_traces(f"http://127.0.0.1:{server.server_port}/v1/traces", "r1")
        api = FastAPI()
        api.add_middleware(Timed, sinks=[kept])
        TestClient(api).get("/nowhere")
        kept.close()
        server.shutdown()
        thread.join()
    (resource,) = taken[0].resource_spans
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["GET"]


def test_traces_without_the_package_are_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    check_traces(None)
    monkeypatch.setattr(traces, "EXPORTER", "opentelemetry.exporter.of_nobody.http")
    with pytest.raises(InputError, match="opentelemetry-exporter-otlp-proto-http") as found:
        check_traces("http://127.0.0.1:4318/v1/traces")
    assert found.value.remedy == "pip install 'catena[traces]'"


def test_a_collector_has_a_url() -> None:
    with pytest.raises(ValueError, match="begins with http:// or https://"):
        ServeConfig(traces="127.0.0.1:4318")
