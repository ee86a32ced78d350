"""The tier in Redis: vectors as raw bytes, read and written in batches, skipped when Redis is down or slow."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from data.cache import Entries, Found, TierCounts
from data.errors import InputError

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger("catena")

Answer = TypeVar("Answer")
VERSION = 2
BATCH = 256  # keys in one request: it is answered within the time-out even where a core is shared
PASSWORD = "CATENA_REDIS_PASSWORD"


class Breaker:
    """Keeps a dead server from costing its time-out at each request.

    After a failure nothing is asked for a second, after each further one for twice as long, up to half a minute; then
    one request is tried.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether nothing should be asked now."""
        return self._clock() < self._until

    def failed(self) -> None:
        """A request got no answer."""
        self._pause_s = min(30.0, max(1.0, 2 * self._pause_s))
        self._until = self._clock() + self._pause_s

    def passed(self) -> None:
        """A request was answered."""
        self._pause_s = 0.0


class RedisTier:
    """Vectors on a Redis server.

    A value is 14 bytes of header (version, bytes a number, dim, tokens read, tokens cut off; little-endian) and the
    vector's numbers. A value in another form counts as absent.

    Args:
        client: connected by ``connect``.
        dim: of the vectors.
        ttl_s: how long an entry lives, in seconds.
        dtype: float16, or float32 where no bit may be lost.
        breaker: when not to ask.
    """

    name = "redis"

    def __init__(
        self,
        client: "Redis",
        dim: int,
        ttl_s: float,
        dtype: type[np.float32] | type[np.float16] = np.float16,
        breaker: Breaker | None = None,
    ) -> None:
        self.counts = TierCounts()
        self._client = client
        self._ttl_ms = max(1, int(ttl_s * 1000))
        self._dim = dim
        self._breaker = breaker or Breaker()
        self._record = np.dtype(
            [
                ("version", "u1"),
                ("bytes", "u1"),
                ("dim", "<u4"),
                ("tokens", "<u4", (2,)),
                ("vector", np.dtype(dtype).newbyteorder("<"), (dim,)),
            ]
        )
        self._number_bytes = np.dtype(dtype).itemsize

    def get_many(self, keys: Sequence[bytes]) -> Found:
        """The entries that are there, and which keys they are; none where Redis does not answer."""
        values: list[Any] = []
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            values += self._ask(partial(self._client.mget, part), len(part)) or [None] * len(part)
        return self._read(values)

    def put_many(self, keys: Sequence[bytes], entries: Entries) -> None:
        """Keep entries; where Redis does not answer they are not kept."""
        records = np.zeros(len(keys), self._record)
        records["version"], records["bytes"], records["dim"] = VERSION, self._number_bytes, self._dim
        records["tokens"], records["vector"] = entries.tokens, entries.vectors
        values, size = records.tobytes(), self._record.itemsize
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            pipeline = self._client.pipeline(transaction=False)
            for row, key in enumerate(part, start):
                pipeline.set(key, values[row * size : (row + 1) * size], px=self._ttl_ms)
            self._ask(pipeline.execute, len(part))

    def _read(self, values: Sequence[bytes | None]) -> Found:
        size = self._record.itemsize
        found = np.fromiter((value is not None and len(value) == size for value in values), np.bool_, len(values))
        whole = [value for value in values if value is not None and len(value) == size]
        records = np.frombuffer(b"".join(whole), self._record)
        known = (records["version"] == VERSION) & (records["bytes"] == self._number_bytes)
        known &= records["dim"] == self._dim
        found[found] = known
        vectors: npt.NDArray[np.float32] = records["vector"][known].astype(np.float32)
        return Entries(vectors, records["tokens"][known].astype(np.int32)), found

    def _ask(self, request: Callable[[], Answer], keys: int) -> Answer | None:
        """The answer; None where Redis is down or slow, or was a moment ago."""
        import redis

        if self._breaker.open:
            self.counts.degraded += keys
            return None
        try:
            answer = request()
        except (redis.RedisError, OSError) as error:
            self._breaker.failed()
            self.counts.degraded += keys
            logger.warning("cache: Redis does not answer (%s), going on without it", type(error).__name__)
            return None
        self._breaker.passed()
        return answer


def connect(url: str, timeout_ms: int) -> "Redis":
    """A client that waits as long as is allowed, and does not try again by itself. Nothing is sent yet."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis.from_url(
        url,
        password=os.environ.get(PASSWORD),
        socket_timeout=timeout_ms / 1000,
        socket_connect_timeout=timeout_ms / 1000,
        retry=Retry(NoBackoff(), 0),
    )


def check(url: str, timeout_ms: int) -> None:
    """Ask a server once before a job begins: one that is down is skipped, one that refuses the password is an error.

    Raises:
        InputError: if it refuses the password, or wants one.
    """
    import redis

    try:
        with connect(url, timeout_ms) as client:
            client.ping()
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise InputError(f"cache.redis: {url} refuses: {error}", f"Put its password into {PASSWORD}.") from error
    except (redis.RedisError, OSError) as error:
        logger.warning("cache: no Redis answers at %s (%s), going on without it", url, error)
