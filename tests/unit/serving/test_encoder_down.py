"""An encoder that is down: the service starts, says so at each question, and searches by words where that is asked."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.cache import CacheConfig
from data.encoders import load_encoder
from data.encoders.config import read_encoder
from data.errors import EncoderUnavailable
from retrieval.config import IndexConfig
from retrieval.explain import Explained
from retrieval.hits import SearchHit
from retrieval.index import IndexMeta
from retrieval.open import read_meta
from retrieval.query import SearchQuery
from serving.admission import Admission
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.errors import ApiError
from serving.index import IndexActor
from serving.schemas import SearchRequest, SearchResponse
from serving.search import SearchService
from tests.endpoint_server import Handler, Server, answer_well, status
from tests.unit.retrieval.test_build import DIM, build, write_run


def meta(fingerprint: str = "0123", dim: int = 32) -> IndexMeta:
    return IndexMeta(
        config=IndexConfig(),
        location="edge",
        points=1,
        dim=dim,
        encoder=fingerprint,
        precision="endpoint",
        mean_length=1.0,
        filter_keys=(),
    )


def test_the_embedder_starts_without_its_server_and_finds_it_again(endpoint: Server) -> None:
    described = meta(load_encoder(endpoint.config()).fingerprint)
    endpoint.always = status(503)
    embedder = Embedder(endpoint.config(retries=0), described, ServeConfig(max_batch=8))
    with pytest.raises(EncoderUnavailable, match="it answers 503"):
        asyncio.run(embedder.encode("moon"))
    endpoint.always = answer_well
    assert asyncio.run(embedder.encode("moon")).shape == (32,)


def hang(handler: Handler, body: dict[str, Any]) -> None:
    """No answer until the test is over."""
    handler.server.stopped.wait(60)
    handler.close_connection = True


def drop(handler: Handler, body: dict[str, Any]) -> None:
    """The connection is closed."""
    handler.close_connection = True


@pytest.fixture
def service(endpoint: Server, tmp_path: Path) -> Callable[[ServeConfig], SearchService]:
    """The routes over a real index and an embedder that asks the endpoint as configured by default."""
    config = read_encoder({"endpoint": {"base_url": endpoint.url, "model": "words", "dimensions": DIM}})
    root = write_run(tmp_path)
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": load_encoder(config).fingerprint}))
    build(root)

    def start(serve: ServeConfig) -> SearchService:
        described = read_meta(root / "out")
        embedder = Embedder(config, described, serve, CacheConfig())
        return SearchService(
            described, embedder, IndexActor(root / "out"), serve.health_timeout_s, Admission(5.0, 1000)
        )

    return start


async def searched(service: SearchService, query: str, **request: object) -> tuple[str, float]:
    """How a question was answered, and in how many seconds."""
    started = time.perf_counter()
    asked = SearchRequest.model_validate({"query": query, "bm25_if_encoder_down": True, **request})
    answered = await service.search(asked)
    assert answered.results
    return answered.mode, time.perf_counter() - started


def refuse(endpoint: Server) -> None:
    endpoint.shutdown()
    endpoint.server_close()


@pytest.mark.parametrize("down", ["503", "closed", "hangs"])
def test_with_the_defaults_a_question_is_answered_by_words_at_once_and_others_are_not_delayed(
    down: str, endpoint: Server, service: Callable[[ServeConfig], SearchService]
) -> None:
    async def ask() -> None:
        routes = service(ServeConfig())
        assert (await searched(routes, "word4"))[0] == "hybrid"
        if down == "closed":
            refuse(endpoint)
        endpoint.always = {"503": status(503), "closed": drop, "hangs": hang}[down]
        # The first ones learn that it is down: at once, or where it hangs in the time that an endpoint has.
        first = asyncio.gather(*(searched(routes, f"title part1 {n}") for n in range(32)))
        words = [await searched(routes, f"word{n} title", mode="bm25") for n in range(8)]
        assert max(seconds for _, seconds in words) < 5.0  # not until the first ones have learned it
        assert {mode for mode, _ in await first} == {"bm25"}
        await asyncio.gather(*(searched(routes, f"title part0 {n}") for n in range(3)))
        later = [await searched(routes, f"word{n} title {n}") for n in range(32)]
        assert {mode for mode, _ in later} == {"bm25"}
        assert np.median([seconds for _, seconds in later]) < 1.0  # alone on a machine: milliseconds
        assert (await searched(routes, "word4"))[0] == "hybrid"  # its vector is in the cache

    asyncio.run(ask())


def test_the_endpoint_is_found_again_beside_the_questions(
    endpoint: Server, service: Callable[[ServeConfig], SearchService]
) -> None:
    async def ask() -> None:
        endpoint.always = status(503)
        routes = service(ServeConfig(breaker_failures=1, breaker_retry_s=0.05))
        assert (await searched(routes, "word4"))[0] == "bm25"
        endpoint.always = answer_well
        for n in range(400):
            if (await searched(routes, f"title {n}"))[0] == "hybrid":
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the endpoint is well and was not found")

    asyncio.run(ask())


class Down:
    """Encoder and index where there are no vectors: no cluster fails like this on request."""

    async def encode(self, text: str) -> np.ndarray:
        raise EncoderUnavailable("the encoder words at http://host/v1 is unavailable: it answers 503", "Wait.")

    encode_tokens = encode

    async def search(self, query: SearchQuery, vector: object, tokens: object) -> list[SearchHit]:
        assert (query.mode, vector, tokens) == ("bm25", None, None)
        return [SearchHit("d1", "p1", "Title", "text", 0, 4, 1.0, {})]

    async def explain(self, query: SearchQuery, vector: object, tokens: object) -> list[Explained]:
        return [Explained(hit, ()) for hit in await self.search(query, vector, tokens)]

    async def version(self) -> int:
        return 0


def answer(**request: object) -> SearchResponse:
    service = SearchService(meta(), Down(), Down(), ready_timeout_s=1.0, admission=Admission(5.0, 1000))
    return asyncio.run(service.search(SearchRequest.model_validate({"query": "moon", **request})))


def test_a_question_is_answered_503_and_names_the_way_out() -> None:
    with pytest.raises(ApiError) as raised:
        answer()
    assert raised.value.type == "unavailable"
    assert raised.value.message.endswith("is unavailable: it answers 503; mode bm25 works without it")


def test_search_falls_to_words_only_where_that_is_asked_and_says_so() -> None:
    fallen = answer(bm25_if_encoder_down=True)
    assert fallen.mode == "bm25" and [hit.document_id for hit in fallen.results] == ["d1"]
    assert answer(mode="bm25").mode == "bm25"
