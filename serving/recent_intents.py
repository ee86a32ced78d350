"""Vectors of the intents that a process was asked last: found without a hop to the threads that encode."""

import time
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from data.cache.keys import normalise
from data.features.store import Clock

Vectors = npt.NDArray[np.float32]

MOST, KEPT_S = 10_000, 3600.0


class RecentIntents:
    """The nearest tier of the cache of intents: the least recently used goes first.

    Texts that differ in white space or Unicode form only are one.

    Args:
        most: intents that are kept.
        kept_s: how long each is, in seconds.
        clock: seconds that never fall.
    """

    def __init__(self, most: int = MOST, kept_s: float = KEPT_S, clock: Clock = time.monotonic) -> None:
        self._most, self._kept_s, self._clock = most, kept_s, clock
        self._vectors: OrderedDict[str, tuple[float, Vectors]] = OrderedDict()

    def get(self, intent: str) -> Vectors | None:
        """The vector of an intent, float32 (D,); None where it is not here, or not any more."""
        text = normalise(intent)
        found = self._vectors.get(text)
        if found is None:
            return None
        if self._clock() >= found[0]:
            del self._vectors[text]
            return None
        self._vectors.move_to_end(text)
        return found[1]

    def put(self, intent: str, vector: Vectors) -> None:
        """Keep the vector of an intent."""
        text = normalise(intent)
        self._vectors[text] = (self._clock() + self._kept_s, vector)
        self._vectors.move_to_end(text)
        if len(self._vectors) > self._most:
            self._vectors.popitem(last=False)
