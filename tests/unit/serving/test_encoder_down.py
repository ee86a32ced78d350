"""An encoder that is down: the service starts, says so at each question, and searches by words where that is asked."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from data.encoders import load_encoder
from data.errors import EncoderUnavailable
from retrieval.config import IndexConfig
from retrieval.index import IndexMeta
from retrieval.search import SearchHit, SearchQuery
from serving.app import Ingress
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.errors import ApiError
from serving.schemas import SearchRequest
from tests.endpoint_server import Server, answer_well, status


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


@dataclass
class Down:
    """What the route needs of its deployment, where vectors cannot be had: no cluster can be told to fail so."""

    _meta: IndexMeta = field(default_factory=meta)

    async def _find(self, query: SearchQuery) -> list[SearchHit]:
        if query.mode != "bm25":
            raise EncoderUnavailable("the encoder words at http://host/v1 cannot be had: it answers 503", "Wait.")
        return [SearchHit("d1", "p1", "Title", "text", 0, 4, 1.0, {})]


def answer(**request: object) -> Any:  # noqa: ANN401 - the route's answer
    return asyncio.run(Ingress.search(Down(), SearchRequest.model_validate({"query": "moon", **request})))


def test_a_question_is_answered_503_and_names_the_way_out() -> None:
    with pytest.raises(ApiError) as raised:
        answer()
    assert raised.value.type == "unavailable"
    assert raised.value.message.endswith("cannot be had: it answers 503; mode bm25 works without it")


def test_search_falls_to_words_only_where_that_is_asked_and_says_so() -> None:
    fallen = answer(bm25_if_encoder_down=True)
    assert fallen.mode == "bm25" and [hit.document_id for hit in fallen.results] == ["d1"]
    assert answer(mode="bm25").mode == "bm25"
