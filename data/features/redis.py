"""The store on a Redis server, which the replicas of several machines share.

``catena:features:VIEW`` is a sorted set of versions by their time. ``catena:features:VIEW:VERSION`` is a hash of rows
by id; its field with the empty name describes them. Redis deletes a version some time after it has ended.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from data.cache.embedded import EmbeddedRedis
from data.cache.redis import Breaker
from data.features.store import Clock, StoreUnavailable, described, now_us, packed, unpacked
from data.features.table import Features

if TYPE_CHECKING:
    from redis import Redis

BATCH = 1000  # rows in one request: answered within the time limit even where a core is shared
DESCRIBED = b""
LISTED = 64  # versions of a view, the latest ones
MARGIN_S = 60  # that clocks may differ by: Redis deletes so much later than readers stop


class RedisFeatures:
    """Features on a Redis server.

    Args:
        client: connected by ``data.cache.redis.connect``.
        clock: that says when features have ended.
        owned: the server, where it lives as long as this does.
    """

    def __init__(self, client: "Redis", clock: Clock = time.time, owned: EmbeddedRedis | None = None) -> None:
        self._client, self._clock, self._breaker, self._owned = client, clock, Breaker(), owned

    def put(self, view: str, features: Features, ttl_s: float) -> str:
        """As of ``FeatureStore``; a version is listed once all of it is there."""
        version, told = features.version, described(features, ttl_s)
        name, now = _name(view, version), now_us(self._clock)
        left_s = (json.loads(told)["ends"] - now) / 1e6
        if left_s <= 0:
            return version
        rows = list(zip(features.ids, packed(features), strict=True))
        for start in range(0, len(rows), BATCH):
            part: dict[Any, Any] = dict(rows[start : start + BATCH])
            self._ask(partial(self._client.hset, name, mapping=part))
        pipeline = self._client.pipeline()
        pipeline.hset(name, DESCRIBED, json.dumps({"ids": features.ids, "told": told}))
        pipeline.pexpire(name, int((left_s + MARGIN_S) * 1000))
        pipeline.zadd(_name(view), {version: features.time})
        pipeline.zremrangebyrank(_name(view), 0, -LISTED - 1)
        self._ask(pipeline.execute)
        return version

    def latest(self, view: str) -> str | None:
        """As of ``FeatureStore``."""
        versions: Any = self._ask(lambda: self._client.zrevrange(_name(view), 0, -1))
        for version in versions:
            if self.get(view, version.decode(), ()) is not None:
                return str(version.decode())
        return None

    def get(self, view: str, version: str, ids: Sequence[str] | None = None) -> Features | None:
        """As of ``FeatureStore``."""
        name = _name(view, version)
        kept: Any = self._ask(lambda: self._client.hget(name, DESCRIBED))
        if kept is None:
            return None
        head = json.loads(kept)
        wanted = head["ids"]
        if ids is not None:
            asked = set(ids)
            wanted = [id_ for id_ in wanted if id_ in asked]
        rows: list[Any] = []
        for start in range(0, len(wanted), BATCH):
            rows += self._ask(partial(self._client.hmget, name, wanted[start : start + BATCH]))
        if any(row is None for row in rows):  # Redis has deleted it meanwhile
            return None
        return unpacked(head["told"], wanted, rows, now_us(self._clock))

    def close(self) -> None:
        """As of ``FeatureStore``."""
        self._client.close()
        if self._owned is not None:
            self._owned.close()

    def _ask(self, request: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the command answers
        from redis import RedisError

        if self._breaker.open:
            raise StoreUnavailable("Redis did not answer a moment ago")
        try:
            answer = request()
        except (RedisError, OSError) as error:
            self._breaker.failed()
            raise StoreUnavailable(f"Redis does not answer: {error}") from error
        self._breaker.passed()
        return answer


def _name(view: str, version: str | None = None) -> str:
    return f"catena:features:{view}" if version is None else f"catena:features:{view}:{version}"
