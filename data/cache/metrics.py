"""What the tiers did, as Ray's metrics: ``ray_catena_cache_lookups`` and its like on the dashboard."""

import sys
from collections.abc import Mapping
from typing import Any

from data.cache import TierCounts


class CacheMetrics:
    """Counts for one process; where it is not one of Ray's, nothing is counted.

    Args:
        kind: ``query`` or ``document``.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._counters: dict[str, Any] = {}

    def add(self, counts: Mapping[str, TierCounts]) -> None:
        """Add what each tier did."""
        if "ray" not in sys.modules or not sys.modules["ray"].is_initialized():
            return
        from ray.util.metrics import Counter

        for tier, counted in counts.items():
            for what, keys in counted:
                if what not in self._counters:
                    name, told = f"catena_cache_{what}", f"vectors: {what} of a tier of the cache"
                    self._counters[what] = Counter(name, description=told, tag_keys=("tier", "kind"))
                if keys:
                    self._counters[what].inc(keys, tags={"tier": tier, "kind": self._kind})
