"""What a service shows of itself: a record of each answer, for metrics and logs.

Names of metrics are those of OpenMetrics, in seconds.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from serving.context import Spent

access = logging.getLogger("catena.access")

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SHARES = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
TAUS = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0)
OPENMETRICS = CONTENT_TYPE_LATEST


@dataclass(frozen=True)
class Answered:
    """One request and its answer.

    Attributes:
        request_id: as on the answer.
        method: of HTTP.
        route: the path as the application declares it, without values; empty where no route fits.
        status: of HTTP; 499 where the caller went before there was one.
        seconds: from the first byte read to the last one sent.
        began: when its first byte was read, by ``time.perf_counter``.
        spent: on each phase until the answer began.
        trace: headers of the request that say which trace it belongs to (W3C Trace Context), by their names.
        key: id of the caller's key; empty without one.
    """

    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    began: float
    spent: Spent
    trace: Mapping[str, str]
    key: str


class Sink(Protocol):
    """Takes records of answers; quick, and never raises."""

    def __call__(self, answered: Answered) -> None:
        """One answer was given."""


class Load(Protocol):
    """What waits, as ``Admission`` has it."""

    @property
    def waiting(self) -> float:
        """Work that was let in and is not done."""

    @property
    def expected_wait_s(self) -> float:
        """Until it is done."""


class OfProcess(Collector):
    """Memory, processor time and open files of this process, under the names that all Prometheus clients give them.

    Args:
        labels: of every metric.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterator[Metric]:
        """The metrics now; none where the system has no ``/proc``."""
        for family in self._process.collect():
            family.samples = [sample._replace(labels={**sample.labels, **self._labels}) for sample in family.samples]
            yield family


class Metrics:
    """Counts answers, in one process.

    Args:
        waiting: what waits, by what it is counted in.
        labels: of every metric, such as the replica's.
    """

    def __init__(self, waiting: Mapping[str, Load], labels: Mapping[str, str] | None = None) -> None:
        self._labels = dict(labels or {})
        self._registry = CollectorRegistry()
        self._registry.register(OfProcess(self._labels))
        own = tuple(self._labels)
        self._requests = Counter(
            "catena_requests", "Answers given.", (*own, "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "catena_request_seconds",
            "From request to answer.",
            (*own, "route"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._phases = Histogram(
            "catena_phase_seconds",
            "Of the phases of requests.",
            (*own, "route", "phase"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._releases = Histogram(
            "catena_release_seconds",
            "Of searches, by the release that answered.",
            (*own, "release", "outcome"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._overlap = Histogram(
            "catena_shadow_overlap",
            "Share of the live release's documents that the shadow found too.",
            (*own, "release"),
            buckets=SHARES,
            registry=self._registry,
        )
        self._tau = Histogram(
            "catena_shadow_kendall_tau",
            "Rank correlation of the documents that both found.",
            (*own, "release"),
            buckets=TAUS,
            registry=self._registry,
        )
        self._dropped = Counter(
            "catena_shadow_dropped", "Questions that the shadow was not asked.", own, registry=self._registry
        )
        self._kept = Counter(
            "catena_kept_answers",
            "Searches looked for among the answers that are kept.",
            (*own, "tier", "outcome"),
            registry=self._registry,
        )
        work = Gauge("catena_waiting", "Work that was let in and is not done.", (*own, "unit"), registry=self._registry)
        wait = Gauge("catena_expected_wait_seconds", "Until it is done.", (*own, "unit"), registry=self._registry)
        for unit, load in waiting.items():
            work.labels(**self._labels, unit=unit).set_function(partial(getattr, load, "waiting"))
            wait.labels(**self._labels, unit=unit).set_function(partial(getattr, load, "expected_wait_s"))

    def __call__(self, answered: Answered) -> None:
        """As of ``Sink``."""
        route = answered.route or "none"
        self._requests.labels(**self._labels, route=route, status=str(answered.status)).inc()
        self._seconds.labels(**self._labels, route=route).observe(answered.seconds)
        for phase, seconds in answered.spent.seconds.items():
            self._phases.labels(**self._labels, route=route, phase=phase).observe(seconds)

    def release_answered(self, release: str, failed: bool, seconds: float) -> None:
        """A release answered a search, or failed to."""
        outcome = "failed" if failed else "answered"
        self._releases.labels(**self._labels, release=release, outcome=outcome).observe(seconds)

    def shadow_compared(self, release: str, overlap: float, tau: float) -> None:
        """A shadow's answer was compared with the live one's."""
        self._overlap.labels(**self._labels, release=release).observe(overlap)
        self._tau.labels(**self._labels, release=release).observe(tau)

    def shadow_dropped(self) -> None:
        """A shadow was not asked."""
        (self._dropped.labels(**self._labels) if self._labels else self._dropped).inc()

    def answer_looked_up(self, tier: str, outcome: str) -> None:
        """A kept answer was looked for in a tier."""
        self._kept.labels(**self._labels, tier=tier, outcome=outcome).inc()

    def page(self) -> bytes:
        """All of them, in OpenMetrics."""
        page: bytes = generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return page


def log_answer(answered: Answered) -> None:
    """A sink: one line of JSON for each answer, without anything that the caller sent but the request's id."""
    access.info(
        orjson.dumps(
            {
                "request_id": answered.request_id,
                "method": answered.method,
                "route": answered.route,
                "status": answered.status,
                "ms": round(1000 * answered.seconds, 2),
                "phases_ms": {name: round(1000 * spent, 2) for name, spent in answered.spent.seconds.items()},
                "key": answered.key,
            }
        ).decode()
    )


def tell(sinks: Sequence[Sink], answered: Answered) -> None:
    """Hand a record to every sink."""
    for sink in sinks:
        sink(answered)
