"""Texts that are gone: told to every process that shares a Redis, so that none keeps their vectors."""

import contextlib
import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from data.cache.keys import HASH_BYTES, Hashes, cache_keys

if TYPE_CHECKING:
    from redis import Redis

    from data.cache.memory import MemoryTier

logger = logging.getLogger("catena")

BATCH = 4096  # hashes in one message: 64 KiB


def publish_gone(client: "Redis", fingerprint: str, hashes: Iterable[Hashes]) -> int:
    """Remove documents' vectors from Redis and tell the processes that may hold them; returns how many texts were told.

    Args:
        client: connected by ``data.cache.redis.connect``.
        fingerprint: of the encoder.
        hashes: of the texts that were changed or deleted, in batches, uint8 of shape (n, 16).
    """
    import redis

    told = 0
    for whole in hashes:
        for start in range(0, len(whole), BATCH):
            part = whole[start : start + BATCH]
            try:
                client.unlink(*cache_keys("document", fingerprint, part))
                client.publish(_channel(fingerprint), part.tobytes())
            except (redis.RedisError, OSError) as error:
                logger.warning("cache: Redis was not told of changed texts (%s)", type(error).__name__)
                return told
            told += len(part)
    return told


class GoneListener:
    """A thread that drops what is published from this process's tier.

    What was published while Redis could not be reached is not known, so the tier is then emptied.

    Args:
        client: connected by ``data.cache.redis.connect``.
        fingerprint: of the encoder.
        memory: the tier.
    """

    def __init__(self, client: "Redis", fingerprint: str, memory: "MemoryTier") -> None:
        self._client = client
        self._fingerprint = fingerprint
        self._memory = memory
        self._stop = threading.Event()
        self.listening = threading.Event()  # set while subscribed
        self._thread = threading.Thread(target=self._listen, name="cache-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        import redis

        while not self._stop.is_set():
            with contextlib.suppress(redis.RedisError, OSError):
                self._hear()
            self.listening.clear()
            self._memory.clear()
            self._stop.wait(1.0)

    def _hear(self) -> None:
        with self._client.pubsub() as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(_channel(self._fingerprint))
            while not self._stop.is_set():
                message = channel.get_message(timeout=0.2)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self.listening.set()
                elif message["type"] == "message":
                    hashes = np.frombuffer(message["data"], np.uint8).reshape(-1, HASH_BYTES)
                    self._memory.drop_many(cache_keys("document", self._fingerprint, hashes))


def _channel(fingerprint: str) -> str:
    return f"catena:gone:{fingerprint}"
