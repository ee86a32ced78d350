"""Counts of the cache's tiers, as Ray's metrics: ``ray_catena_cache_lookups`` and its like on the dashboard."""

import sys
from collections.abc import Mapping
from typing import Any

from data.cache import TierCounts
from data.measuring import Reporting


class CacheMetrics:
    """Counts for one process; where it is not one of Ray's, nothing is counted.

    Args:
        kind: ``query`` or ``document``.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._counters: dict[str, Any] = {}
        self._reporting = Reporting("metrics of the cache")

    def add(self, counts: Mapping[str, TierCounts]) -> None:
        """Add what each tier did; a metric that fails is logged once and never ends the work."""
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            with self._reporting.guard():
                self._add(counts)

    def _add(self, counts: Mapping[str, TierCounts]) -> None:
        from ray.util.metrics import Counter

        for tier, counted in counts.items():
            for what, keys in counted:
                if what not in self._counters:
                    name, description = f"catena_cache_{what}", f"vectors: {what} of a tier of the cache"
                    self._counters[what] = Counter(name, description=description, tag_keys=("tier", "kind"))
                if keys:
                    self._counters[what].inc(keys, tags={"tier": tier, "kind": self._kind})
