"""The first stage of search: a question encoded, the index asked; and whether both of them answer."""

import asyncio
import logging
import math
import time
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.explain import Explained
from retrieval.hits import SearchHit
from retrieval.index import IndexMeta
from retrieval.matched import MatchedWord
from retrieval.query import SearchQuery
from serving.context import phase
from serving.embedding import TextEncoder
from serving.errors import ApiError
from serving.results import Clock
from serving.schemas import Readiness

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

    async def explain(self, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None) -> list[Explained]:
        """The same with the reasons for each."""

    async def version(self) -> int:
        """A number that changes whenever the answer to a query may."""


class FirstStage:
    """Finds documents.

    Args:
        meta: of the index.
        encoder: of questions.
        index: that is asked.
    """

    def __init__(self, meta: IndexMeta, encoder: QuestionEncoder, index: Index) -> None:
        self._meta, self._encoder, self._index = meta, encoder, index

    async def version(self) -> int:
        """A number that changes whenever what is found may."""
        return await self._index.version()

    async def find(
        self, query: SearchQuery, explained: bool, clock: Clock
    ) -> tuple[list[SearchHit], dict[str, tuple[MatchedWord, ...]]]:
        """What the index finds; and by document the words of the question that it has, where they are asked for.

        Raises:
            EncoderUnavailable: if the question has no vector in time.
        """
        vector = tokens = None
        with phase("encode"), clock("encode"):
            if query.mode == "late":
                vector, tokens = await asyncio.gather(
                    self._encoder.encode(query.text), self._encoder.encode_tokens(query.text)
                )
            elif query.mode != "bm25":
                vector = await self._encoder.encode(query.text)
        with phase("search"), clock("search"):
            if explained:
                reasons = await self._index.explain(query, vector, tokens)
                return [one.hit for one in reasons], {one.hit.document_id: one.words for one in reasons}
            return await self._index.search(query, vector, tokens), {}

    async def measured_rate(self, batch: float) -> float:
        """Questions that are answered in a second, of two full batches at once; the second time that they are asked.

        Args:
            batch: questions of a full one.

        Raises:
            EncoderUnavailable: if there are no vectors in time.
        """
        queries = [SearchQuery(f"which rate has question {one}") for one in range(math.ceil(2 * batch))]
        for _ in range(2):  # what is first of its shape takes longer
            started = time.perf_counter()
            made = await self._encoder.embed([query.text for query in queries], "query")  # past the cache of questions
            pairs = zip(queries, made.vectors, strict=True)
            await asyncio.gather(*(self._index.search(query, vector, None) for query, vector in pairs))
        return len(queries) / (time.perf_counter() - started)

    async def ready(self, timeout_s: float) -> Readiness:
        """That model and index answer now.

        Raises:
            ApiError: if one of them does not within the time limit.
        """
        query = SearchQuery("ready", "hybrid", top_k=1)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
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
