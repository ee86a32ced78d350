"""Features of capabilities as a service ranks by them: in memory, and followed in a store that replicas share."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from data.features.check import validate
from data.features.store import Clock, FeatureStore, StoreUnavailable, now_us
from data.features.table import Features

logger = logging.getLogger("catena")

LOOK_EVERY_S = 10.0  # for a version that another process has put

Make = Callable[[int], Features]
"""Computes features as of a time, in microseconds since 1970."""


class FeatureFeed:
    """The latest features that can be used.

    A version that is older than ``every_s`` is followed by one that this process computes and puts into the store,
    where the others find it. While the store does not answer, the features that are in memory count until they end.

    Args:
        store: that keeps them.
        view: name of them in the store.
        names: that the ranker weighs.
        make: computes new ones.
        ttl_s: seconds from the time of features on in which they may be used.
        every_s: seconds after which they are computed again.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: FeatureStore,
        view: str,
        names: Sequence[str],
        make: Make,
        ttl_s: float,
        every_s: float,
        clock: Clock = time.time,
    ) -> None:
        self._store, self._view, self._names, self._make = store, view, tuple(names), make
        self._ttl_s, self._every_s, self._clock = ttl_s, every_s, clock
        self._features: Features | None = None
        self._looked_s = -float("inf")
        self._looking: asyncio.Task[None] | None = None

    def current(self) -> Features | None:
        """Features that have not ended; None where there are none. The store is looked at beside the requests."""
        if self._clock() - self._looked_s > LOOK_EVERY_S and (self._looking is None or self._looking.done()):
            self._looked_s = self._clock()
            self._looking = asyncio.create_task(asyncio.to_thread(self.refresh))
        features = self._features
        if features is None or now_us(self._clock) - features.time >= self._ttl_s * 1e6:
            return None
        return features

    def refresh(self) -> None:
        """Take up the latest version, or make one where that is too old; called in a thread."""
        self._looked_s = self._clock()
        try:
            features = self._latest()
        except StoreUnavailable as error:
            logger.warning("features: the store does not answer, going on without it: %s", error)
            return
        except Exception as error:  # whatever keeps them from being computed: answers go on, with those before
            logger.error("features: they cannot be computed: %s: %s", type(error).__name__, error)
            return
        problems = validate(features, self._names, now_us(self._clock), self._ttl_s)
        for problem in problems:
            logger.warning("features: %s: %s", problem.kind, problem.reason)
        if all(problem.kind == "collapse" for problem in problems):  # equal rows change no order
            self._features = features

    def close(self) -> None:
        """Give the store back; nobody asks any more."""
        self._store.close()

    def _latest(self) -> Features:
        version = self._store.latest(self._view)
        now = now_us(self._clock)
        if version is not None and self._features is not None and version == self._features.version:
            kept: Features | None = self._features
        else:
            kept = None if version is None else self._store.get(self._view, version)
        if kept is not None and now - kept.time < self._every_s * 1e6:
            return kept
        made = self._make(now)
        self._store.put(self._view, made, self._ttl_s)
        return made
