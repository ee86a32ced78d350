"""Answers that replicas share through a real Redis, which may be killed, stopped, or hold something else."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from data.cache import CacheConfig
from data.cache.embedded import EmbeddedRedis
from data.cache.redis import connect
from data.errors import EncoderUnavailable
from retrieval.explain import Explained
from retrieval.hits import SearchHit
from retrieval.open import read_meta
from retrieval.query import SearchQuery
from serving.admission import Admission
from serving.artifacts import LiveConfig
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.index import IndexActor
from serving.schemas import SearchRequest, SearchResponse, SearchResult
from serving.search import SearchService
from serving.stored_answers import RedisAnswers, StoredAnswer, answer_key, decided_by, open_answers
from tests.unit.serving.test_traffic import release
from tests.unit.serving.whole_application import CONFIG, ENCODER, write_whole_run

Vectors = npt.NDArray[np.float32]
WORDS = SearchRequest(query="passage 7 number", top_k=3)
NEVER_SLOW_MS = 5000  # where the time limit is not what is tested: a busy machine is no fault


class CountedIndex:
    """An index with a number of writes, and how often it was searched."""

    def __init__(self, index: IndexActor) -> None:
        self._index, self.written, self.searched = index, 1, 0

    async def search(self, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None) -> list[SearchHit]:
        self.searched += 1
        return await self._index.search(query, vector, tokens)

    async def explain(self, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None) -> list[Explained]:
        return await self._index.explain(query, vector, tokens)

    async def version(self) -> int:
        return self.written


class DownEmbedder(Embedder):
    """An encoder that does not answer."""

    async def encode(self, text: str) -> Vectors:
        raise EncoderUnavailable("down", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_whole_run(folder)
    return folder


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[IndexActor]:
    index = IndexActor(folder / "run" / "out")
    yield index
    index.close()


@pytest.fixture
def index(opened: IndexActor) -> CountedIndex:
    return CountedIndex(opened)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis", 16) as server:
        yield server


class Replica:
    """A search of one process, with what it was told of kept answers."""

    def __init__(
        self,
        folder: Path,
        index: CountedIndex,
        redis: EmbeddedRedis,
        of: str = "one",
        timeout_ms: int = NEVER_SLOW_MS,
        embedder: type[Embedder] = Embedder,
    ) -> None:
        self.counts, self.redis = Counter[tuple[str, str]](), connect(redis.url, NEVER_SLOW_MS)

        def count(tier: str, outcome: str) -> None:
            self.counts[tier, outcome] += 1

        meta = read_meta(folder / "run" / "out")
        stored = RedisAnswers(connect(redis.url, timeout_ms), 60.0, timeout_ms, count)
        encoder = embedder(ENCODER, meta, CONFIG)
        self._search = SearchService(meta, encoder, index, 10.0, Admission(5.0, 1000), 1, None, None, stored, of, count)

    async def ask(self, request: SearchRequest) -> SearchResponse:
        return await self._search.search(request)

    async def stored(self, answers: int) -> None:
        """Wait until so many are written, which is done beside the requests."""
        end = time.monotonic() + 30
        while int(self.redis.dbsize()) < answers:  # type: ignore[arg-type]  # this client is no asynchronous one
            assert time.monotonic() < end, f"{answers} answers are not written"
            await asyncio.sleep(0.01)


def test_what_one_replica_has_found_another_need_not(folder: Path, index: CountedIndex, redis: EmbeddedRedis) -> None:
    first, second = (Replica(folder, index, redis) for _ in range(2))

    async def case() -> None:
        found = await first.ask(WORDS)
        await first.stored(1)
        again = await second.ask(WORDS)
        assert again == found and again.results and index.searched == 1
        assert await second.ask(WORDS) == found  # which has it itself now
        assert second.counts == {("memory", "miss"): 1, ("redis", "hit"): 1, ("memory", "hit"): 1}
        assert first.counts == {("memory", "miss"): 1, ("redis", "miss"): 1}
        (key,) = first.redis.keys()  # type: ignore[misc]
        assert 0 < int(first.redis.pttl(key)) <= 60_000  # type: ignore[arg-type]

    asyncio.run(case())


def test_answers_of_another_release_or_before_a_write_are_not_given(
    folder: Path, index: CountedIndex, redis: EmbeddedRedis
) -> None:
    first, second, other = (
        Replica(folder, index, redis),
        Replica(folder, index, redis),
        Replica(folder, index, redis, "b"),
    )

    async def case() -> None:
        await first.ask(WORDS)
        await first.stored(1)
        await other.ask(WORDS)
        assert index.searched == 2
        index.written += 1
        await second.ask(WORDS)
        assert index.searched == 3
        await second.ask(WORDS.model_copy(update={"top_k": 2}))
        assert index.searched == 4 and second.counts["redis", "hit"] == 0

    asyncio.run(case())


def test_what_was_answered_without_the_encoder_is_not_stored(
    folder: Path, index: CountedIndex, redis: EmbeddedRedis
) -> None:
    replica = Replica(folder, index, redis, embedder=DownEmbedder)

    async def case() -> None:
        assert (await replica.ask(WORDS.model_copy(update={"bm25_if_encoder_down": True}))).mode == "bm25"
        await replica.ask(SearchRequest(query="other words", mode="bm25"))
        await replica.stored(1)  # written one after the other
        assert len(replica.redis.keys()) == 1  # type: ignore[arg-type]

    asyncio.run(case())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_redis_that_is_killed_or_hangs_delays_one_answer_and_fails_none(
    folder: Path, index: CountedIndex, redis: EmbeddedRedis, number: signal.Signals
) -> None:
    replica = Replica(folder, index, redis, timeout_ms=300)
    server = replica.redis.info()["process_id"]  # type: ignore[index]

    async def case() -> None:
        await replica.ask(WORDS)
        await replica.stored(1)  # else that is what fails
        os.kill(server, number)
        started, answers = time.monotonic(), []
        for place in range(40):
            answers.append(await replica.ask(SearchRequest(query=f"passage {place}", top_k=1)))
        took = time.monotonic() - started
        if number == signal.SIGSTOP:
            os.kill(server, signal.SIGCONT)
        assert all(answer.results for answer in answers)
        assert took < 40 * 0.3 / 2, "each waited for Redis"
        failed, skipped = replica.counts["redis", "failed"], replica.counts["redis", "skipped"]
        assert failed + skipped == 40 and 1 <= failed <= 3

    asyncio.run(case())


def test_something_else_under_the_key_counts_as_absent(redis: EmbeddedRedis) -> None:
    client = connect(redis.url, NEVER_SLOW_MS)
    answers, key = RedisAnswers(client, 60.0, NEVER_SLOW_MS), answer_key("one", 1, "q")
    for value in (b"", b"{}", b'{"results": 1, "mode": "dense", "reranked": false}', b"\xff"):
        client.set(key, value)
        assert asyncio.run(answers.get(key)) is None


def test_an_answer_comes_back_as_it_was(redis: EmbeddedRedis) -> None:
    odd = {"year": 2001, "share": 0.1 + 0.2, "tags": ["א", "\n"], "none": None, "author": {"name": "x"}, "big": 2**60}
    result = SearchResult(
        document_id="a/b\n", title="t", text="x" * 5000, score=1 / 3, passage_id="p", start=0, end=9, metadata=odd
    )
    answer, key = StoredAnswer(results=[result], mode="hybrid", reranked=True), answer_key("one", 1, "q")
    answers = RedisAnswers(connect(redis.url, NEVER_SLOW_MS), 60.0, NEVER_SLOW_MS)

    async def case() -> None:
        answers.put(key, answer)
        end = time.monotonic() + 30
        while (got := await answers.get(key)) is None and time.monotonic() < end:
            await asyncio.sleep(0.01)
        assert got == answer

    asyncio.run(case())


def test_two_workspaces_that_write_share_nothing(tmp_path: Path) -> None:
    def named(live: str, ranker: str | None = None) -> str:
        live_config = LiveConfig(folder=tmp_path / live, limit=5)
        return decided_by(release("one").model_copy(update={"live": live_config, "ranker": ranker}))

    assert named("a") == named("a") != named("b")
    before = named("a")
    (tmp_path / "a" / "name").unlink()  # the folder was removed, and its writes are numbered from 1 again
    assert named("a") != before
    assert named("b") != named("b", ranker="another")
    assert decided_by(release("one")) != decided_by(release("two"))


def test_there_are_none_without_a_redis_or_where_none_are_kept(tmp_path: Path) -> None:
    def kept(redis: str, **serve: float) -> bool:
        cache = CacheConfig(redis=redis, folder=tmp_path / "cache")
        return open_answers(cache, ServeConfig.model_validate(serve), lambda tier, outcome: None) is not None

    assert not kept("none")
    assert not kept("embedded", kept_answers_mb=0) and not kept("embedded", kept_answers_ttl_s=0)
    assert kept("embedded")
