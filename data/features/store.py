"""Where services find features: versions that never change, each of which ends by itself.

A version is named by the digest of its content: to write it again changes nothing, and two that differ have two names.
When it ends is counted from the time of its features, and is looked at whenever it is read: what a store has not yet
deleted is not served.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from data.features.table import Features

Clock = Callable[[], float]
"""Seconds since 1970."""


class StoreUnavailable(Exception):
    """A store does not answer now; the reason is its text."""


class FeatureStore(Protocol):
    """Views of features by name, each in versions."""

    def put(self, view: str, features: Features, ttl_s: float) -> str:
        """Keep features.

        Args:
            view: name, such as that of the run.
            features: of one time.
            ttl_s: seconds from that time on after which they are not served.

        Returns:
            The version.

        Raises:
            StoreUnavailable: if the store does not answer; so with the others.
        """
        ...

    def latest(self, view: str) -> str | None:
        """The version whose features are of the latest time; None where none is there that has not ended."""
        ...

    def get(self, view: str, version: str, ids: Sequence[str] | None = None) -> Features | None:
        """Features of a version, None where it is not there or has ended.

        Args:
            view: name.
            version: of it.
            ids: of the entities, those of all where None; one that the version does not have is left out.
        """
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def now_us(clock: Clock = time.time) -> int:
    """Microseconds since 1970."""
    return int(clock() * 1e6)


def described(features: Features, ttl_s: float) -> str:
    """What a store keeps of a version beside its rows, as JSON."""
    return json.dumps({"names": features.names, "time": features.time, "ends": features.time + int(ttl_s * 1e6)})


def packed(features: Features) -> list[bytes]:
    """Each row as bytes: float32, little-endian."""
    values, size = np.ascontiguousarray(features.values_CF, "<f4").tobytes(), 4 * len(features.names)
    return [values[start : start + size] for start in range(0, size * len(features), size)]


def unpacked(described_as: str | bytes, ids: Sequence[str], rows: Sequence[bytes], now: int) -> Features | None:
    """Features of what a store has kept; None where they have ended by now, in microseconds since 1970."""
    told = json.loads(described_as)
    if told["ends"] <= now:
        return None
    values = np.frombuffer(b"".join(rows), "<f4").astype(np.float32)
    return Features(tuple(told["names"]), values.reshape(len(ids), len(told["names"])), tuple(ids), told["time"])
