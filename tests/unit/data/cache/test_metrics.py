"""Ray's dashboard gets what the tiers counted; without Ray nothing is sent."""

from collections import Counter as Sums

import pytest
import ray
from ray.util import metrics

from data.cache import TierCounts
from data.cache.metrics import CacheMetrics

COUNTS = {"memory": TierCounts(lookups=8, hits=3), "redis": TierCounts(lookups=5, degraded=5)}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sums[tuple[str, str, str]]:
    """Sums by metric, tier and kind, read where they are handed to Ray: it gives none back without a cluster."""
    sums: Sums[tuple[str, str, str]] = Sums()

    class Read(metrics.Counter):
        def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
            super().inc(value, tags)
            assert tags is not None
            sums[self.info["name"], tags["tier"], tags["kind"]] += int(value)

    monkeypatch.setattr(metrics, "Counter", Read)
    return sums


def test_metrics_are_the_counts_by_tier_and_kind(
    sent: Sums[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    queries, documents = CacheMetrics("query"), CacheMetrics("document")
    queries.add(COUNTS)
    queries.add(COUNTS)
    documents.add({"stored": TierCounts(lookups=2, hits=2)})
    assert sent == {
        ("catena_cache_lookups", "memory", "query"): 16,
        ("catena_cache_hits", "memory", "query"): 6,
        ("catena_cache_lookups", "redis", "query"): 10,
        ("catena_cache_degraded", "redis", "query"): 10,
        ("catena_cache_lookups", "stored", "document"): 2,
        ("catena_cache_hits", "stored", "document"): 2,
    }


def test_a_process_that_is_not_one_of_rays_tells_nothing(
    sent: Sums[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    CacheMetrics("query").add(COUNTS)
    assert not sent
