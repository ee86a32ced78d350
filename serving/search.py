"""Search as the service answers it: a request checked, its question encoded, the index asked."""

import asyncio
import logging
import time
from dataclasses import asdict, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data.errors import EncoderUnavailable, InputError
from data.labels import label
from retrieval.config import Mode
from retrieval.filters import parse_filter
from retrieval.index import IndexMeta
from retrieval.search import SearchHit, SearchQuery, check_query
from serving.admission import Admission
from serving.answers import SharedAnswers
from serving.context import phase
from serving.embedding import TextEncoder
from serving.errors import ApiError
from serving.schemas import Readiness, SearchRequest, SearchResponse, SearchResult

logger = logging.getLogger("catena")

Vectors = npt.NDArray[np.float32]


class QuestionEncoder(TextEncoder, Protocol):
    """What turns questions to vectors, in this process or another."""

    async def encode(self, text: str) -> Vectors:
        """The unit vector of a text, float32 (dim,).

        Raises:
            EncoderUnavailable: if there is none in time.
        """

    async def encode_tokens(self, text: str) -> Vectors:
        """The unit vectors of a text's tokens, float32 (tokens, late_dim)."""


class Index(Protocol):
    """What finds documents, in this process or another."""

    async def search(self, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None) -> list[SearchHit]:
        """The best documents of a query."""

    async def version(self) -> int:
        """A number that changes whenever the answer to a query may."""


class SearchService:
    """Answers searches.

    Args:
        meta: of the index.
        encoder: of questions.
        index: that is asked.
        ready_timeout_s: after which ``ready`` says no, in seconds.
        admission: of searches.
        kept_mb: of answers that are kept to be given again, in MiB, until something is written to the index.
    """

    def __init__(
        self,
        meta: IndexMeta,
        encoder: QuestionEncoder,
        index: Index,
        ready_timeout_s: float,
        admission: Admission,
        kept_mb: int = 0,
    ) -> None:
        self._meta, self._encoder, self._index, self._ready_timeout_s = meta, encoder, index, ready_timeout_s
        self._admission = admission
        self._answers = SharedAnswers[tuple[Mode, SearchResponse]](
            kept_mb * 2**20, lambda answer: answer[0] == answer[1].mode, lambda answer: _size(answer[1])
        )

    async def search(self, request: SearchRequest) -> SearchResponse:
        """Documents that answer a question, best first.

        Raises:
            ApiError: if the index cannot answer the request, too much waits already, or the encoder is down and words
                alone do not do.
        """
        query = checked_query(self._meta, request)
        version = await self._index.version()
        key = version, repr((query, request.bm25_if_encoder_down))  # 1, 1.0 and True are equal, and other filters
        _, answer = await self._answers.get(key, lambda: self._answered(query, request))
        return answer

    async def _answered(self, query: SearchQuery, request: SearchRequest) -> tuple[Mode, SearchResponse]:
        """The mode that was asked for, and the answer."""
        with self._admission.admitted(1):
            try:
                hits = await self._find(query)
            except EncoderUnavailable as error:
                if not request.bm25_if_encoder_down:
                    raise ApiError("unavailable", f"{error.problem}; mode bm25 works without it", "mode") from None
                query = replace(query, mode="bm25")
                hits = await self._find(query)
        results = [
            SearchResult.model_validate({**asdict(hit), "title": label(hit.document_id, hit.title)}) for hit in hits
        ]
        return request.mode, SearchResponse(query=request.query, mode=query.mode, results=results)

    async def ready(self) -> Readiness:
        """That model and index answer now.

        Raises:
            ApiError: if one of them does not within the time limit.
        """
        query = SearchQuery("ready", "hybrid", top_k=1)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._ready_timeout_s):
                made = await self._encoder.embed([query.text], "query")  # past the cache of questions
                encoded = time.perf_counter()
                await self._index.search(query, made.vectors[0], None)
        except Exception as error:
            logger.warning("not ready: %s", error, exc_info=error)
            raise ApiError("unavailable", f"model or index does not answer: {type(error).__name__}") from error
        return Readiness(
            encoder=self._meta.encoder,
            passages=self._meta.points,
            encode_ms=round((encoded - started) * 1000, 2),
            search_ms=round((time.perf_counter() - encoded) * 1000, 2),
        )

    async def _find(self, query: SearchQuery) -> list[SearchHit]:
        vector = tokens = None
        with phase("encode"):
            if query.mode == "late":
                vector, tokens = await asyncio.gather(
                    self._encoder.encode(query.text), self._encoder.encode_tokens(query.text)
                )
            elif query.mode != "bm25":
                vector = await self._encoder.encode(query.text)
        with phase("search"):
            return await self._index.search(query, vector, tokens)


def _size(answer: SearchResponse) -> int:
    """About how many bytes an answer takes in memory."""
    return 500 + sum(2000 + 2 * len(one.text) + 4 * len(str(one.metadata)) for one in answer.results)


def checked_query(meta: IndexMeta, request: SearchRequest) -> SearchQuery:
    """The query of a request.

    Raises:
        ApiError: if the index cannot answer it; it names the field.
    """
    try:
        query = SearchQuery(request.query, request.mode, request.top_k, parse_filter(request.filter))
        check_query(meta, query)
    except InputError as error:
        about = "mode" if error.problem.startswith("mode") else "filter"
        raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", about) from None
    return query
