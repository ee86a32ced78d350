"""Traces: a span for each request, with its phases as children, sent to an OpenTelemetry collector (OTLP over HTTP).

A span is made when the answer is given, from what was measured anyway, so tracing costs a request nothing while it is
worked on. A request that names its trace (W3C Trace Context, the header ``traceparent``) becomes part of it, and is
left out where its caller does not sample it.
"""

import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from data.errors import InputError
from serving.sight import Answered

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

PROBES = ("/healthz", "/readyz", "/metrics")  # asked every few seconds, and always the same
TIMEOUT_S = 2.0  # of a batch of spans, retries included: so long may the end of a service wait for a dead collector
EXPORTER = "opentelemetry.exporter.otlp.proto.http"


class Traces:
    """A sink that makes a span of each answer.

    Spans are sent in batches by a thread of their own; those that the collector does not take in time are dropped.

    Args:
        exporter: takes the spans.
        instance: what tells this process from others of the service.
    """

    def __init__(self, exporter: "SpanExporter", instance: str = "") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        service = os.environ.get("OTEL_SERVICE_NAME", "catena")
        own = Resource.create({"service.name": service, "service.instance.id": instance})
        self._provider = TracerProvider(resource=own)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("catena")
        self._context = TraceContextTextMapPropagator()

    def __call__(self, answered: Answered) -> None:
        """As of ``Sink``."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        if answered.route in PROBES:
            return
        offset_s = time.time() - time.perf_counter()
        began = _nanoseconds(offset_s + answered.began)
        span = self._tracer.start_span(
            f"{answered.method} {answered.route}".rstrip(),
            context=self._context.extract(answered.trace),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": answered.method,
                "http.route": answered.route,
                "http.response.status_code": answered.status,
                "catena.request_id": answered.request_id,
                "catena.key": answered.key,
            },
            start_time=began,
        )
        if answered.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        inside = set_span_in_context(span)
        for phase, at, seconds in answered.spent.blocks:
            start = _nanoseconds(offset_s + at)
            self._tracer.start_span(phase, inside, start_time=start).end(start + _nanoseconds(seconds))
        span.end(began + _nanoseconds(answered.seconds))

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


def check_traces(url: str | None) -> None:
    """Refuse to begin without what sends traces, where they are asked for.

    Raises:
        InputError: if it is not installed.
    """
    if url is not None and not _installed():
        raise InputError(
            f"serve.traces: sending traces to {url} needs the package opentelemetry-exporter-otlp-proto-http",
            "pip install 'catena[traces]'",
        )


def open_traces(url: str, instance: str) -> Traces:
    """Traces that go to a collector.

    Args:
        url: of the collector, where it takes traces over HTTP.
        instance: what tells this process from others of the service.

    Raises:
        InputError: as of ``check_traces``.
    """
    check_traces(url)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Traces(OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_S), instance)


def _installed() -> bool:
    try:
        return find_spec(EXPORTER) is not None
    except ModuleNotFoundError:  # a package that would hold it
        return False


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
