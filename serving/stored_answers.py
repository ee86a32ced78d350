"""Answers of searches that the replicas of a service share through Redis, behind those that each keeps in memory.

Redis never decides whether there is an answer, nor when: a look-up has a short time limit, after a failure nothing is
asked for a while, and answers are written beside the requests.
"""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from data.cache import CacheConfig
from data.cache.embedded import EmbeddedRedis
from data.cache.encoder import open_redis
from data.cache.redis import Breaker, connect
from data.files import whole_or_absent
from retrieval.config import Mode
from serving.config import ServeConfig
from serving.schemas import SearchResult
from serving.traffic import Release

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger("catena")

FORM = 1  # of what is stored
LARGEST = 2**20  # bytes of an answer that is stored
MOST_WAITING = 64  # answers that wait to be written; beyond them one is left out

Count = Callable[[str, str], None]
"""Told of each look-up: in which tier, ``memory`` or ``redis``, and what came of it."""


def not_counted(tier: str, outcome: str) -> None:
    """Nobody counts."""


class StoredAnswer(BaseModel):
    """What is kept of an answer.

    Attributes:
        results: documents, best first.
        mode: that found them.
        reranked: whether the ranker put them in order.
    """

    model_config = ConfigDict(frozen=True)

    results: list[SearchResult]
    mode: Mode
    reranked: bool


class AnswerStore(Protocol):
    """Where answers are kept beyond this process."""

    async def get(self, key: bytes) -> StoredAnswer | None:
        """One that is there."""

    def put(self, key: bytes, answer: StoredAnswer) -> None:
        """Keep one, later; returns at once."""


class RedisAnswers:
    """Answers on a Redis server.

    Args:
        client: connected by ``data.cache.redis.connect``.
        ttl_s: how long an answer is kept, in seconds.
        timeout_ms: longest wait for a look-up, its place in the queue included, in milliseconds.
        count: told ``hit``, ``miss``, ``failed`` or, while Redis is left alone, ``skipped``.
        embedded: the server, where it lives as long as this does.
    """

    def __init__(
        self,
        client: "Redis",
        ttl_s: float,
        timeout_ms: int,
        count: Count = not_counted,
        embedded: EmbeddedRedis | None = None,
    ) -> None:
        from redis import RedisError

        self._client, self._ttl_ms, self._timeout_s = client, max(1, int(ttl_s * 1000)), timeout_ms / 1000
        self._count, self._embedded, self._breaker = count, embedded, Breaker()
        self._errors = (OSError, RedisError)  # TimeoutError is an OSError
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="answers-read")
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="answers-write")
        self._waiting = 0

    async def get(self, key: bytes) -> StoredAnswer | None:
        """As of ``AnswerStore``; None where Redis is down, slow, or has something else there."""
        if self._breaker.open:
            self._count("redis", "skipped")
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                value = await asyncio.get_running_loop().run_in_executor(self._reads, self._read, key)
        except self._errors as error:
            self._failed(error)
            self._count("redis", "failed")
            return None
        answer = None if value is None else _parsed(value)
        self._count("redis", "miss" if answer is None else "hit")
        return answer

    def put(self, key: bytes, answer: StoredAnswer) -> None:
        """As of ``AnswerStore``; where Redis does not answer, or cannot keep up, it is not kept."""
        if self._breaker.open or self._waiting >= MOST_WAITING:
            return
        self._waiting += 1
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._writes, self._write, key, answer).add_done_callback(self._written)

    def _read(self, key: bytes) -> bytes | None:
        if self._breaker.open:  # by one that was before it in the queue
            return None
        value = self._client.get(key)
        self._breaker.passed()
        return value if isinstance(value, bytes) else None

    def _write(self, key: bytes, answer: StoredAnswer) -> None:
        value = answer.model_dump_json().encode()
        if self._breaker.open or len(value) > LARGEST:
            return
        try:
            self._client.set(key, value, px=self._ttl_ms)
        except self._errors as error:
            self._failed(error)

    def _written(self, done: "asyncio.Future[None]") -> None:
        self._waiting -= 1
        if not done.cancelled() and done.exception() is not None:
            logger.error("answers: one is not stored: %s", done.exception())

    def _failed(self, error: Exception) -> None:
        self._breaker.failed()
        logger.warning("answers: Redis does not answer (%s), going on without it", type(error).__name__)


def open_answers(cache: CacheConfig, config: ServeConfig, count: Count) -> RedisAnswers | None:
    """The answers that replicas share; None where the run has no Redis, or none are kept.

    Raises:
        InputError: if Redis refuses the password, or the embedded one does not start.
    """
    if cache.redis == "none" or not config.kept_answers_mb or not config.kept_answers_ttl_s:
        return None
    embedded, url = open_redis(cache)
    assert url is not None, "there is one"
    client = connect(url, cache.timeout_ms)
    return RedisAnswers(client, config.kept_answers_ttl_s, cache.timeout_ms, count, embedded)


def decided_by(release: Release) -> str:
    """Names all that decides an answer but the question and what was written: answers of no other release are given.

    The writes of each workspace are numbered from 1, so a name of its live documents is among it.
    """
    live = None if release.live is None else _name_of(release.live.folder)
    described = release.model_dump_json(exclude={"found", "made"})
    return repr((FORM, version("catena"), described, live))


def answer_key(decided_by: str, written: int, asked: str) -> bytes:
    """What an answer is stored under.

    Args:
        decided_by: as of the function of that name.
        written: number of the last write to the live documents.
        asked: everything of a request that decides its answer.
    """
    return b"catena:answer:" + hashlib.blake2b(repr((decided_by, written, asked)).encode(), digest_size=20).digest()


def _name_of(folder: Path) -> str:
    """A name of the live documents in a folder, which no others have; made at the first call.

    Where two processes make one at once the later one stays, and the other's answers are found by itself alone.
    """
    path = folder / "name"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_or_absent(path) as unfinished:
            unfinished.write_text(uuid.uuid4().hex)
    return path.read_text()


def _parsed(value: bytes) -> StoredAnswer | None:
    try:
        return StoredAnswer.model_validate_json(value)
    except ValidationError:
        return None
