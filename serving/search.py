"""Search as the service answers it: a request checked, its question encoded, the index asked."""

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data.errors import EncoderUnavailable, InputError, nearest
from data.passages.text import passage_text
from retrieval.config import Mode
from retrieval.explain import Explained
from retrieval.filters import parse_filter
from retrieval.index import IndexMeta
from retrieval.search import SearchHit, SearchQuery, check_query
from serving.admission import Admission
from serving.answers import SharedAnswers
from serving.config import PipelineConfig
from serving.context import phase
from serving.cursor import FIRST, Cursor
from serving.embedding import TextEncoder
from serving.errors import ApiError
from serving.ranking import RankingService
from serving.results import Clock, result_of, size_of
from serving.schemas import Readiness, SearchRequest, SearchResponse, SearchResult, Timing
from serving.stored_answers import AnswerStore, Count, StoredAnswer, answer_key, not_counted

logger = logging.getLogger("catena")

DEFAULT = "default"

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


@dataclass(frozen=True)
class _Asked:
    """Everything that decides which documents answer, in which order.

    Attributes:
        query: ``top_k`` of it is how many are found, of which an answer has some.
        rerank: whether the ranker puts them in order.
        min_score: of those that are kept.
        without_models: whether words alone do where the encoder is unavailable, and no ranker where that one is.
    """

    query: SearchQuery
    rerank: bool
    min_score: float | None
    without_models: bool


@dataclass(frozen=True)
class _Found:
    """Documents, best first, and how they were found."""

    results: list[SearchResult]
    mode: Mode
    reranked: bool
    timing_ms: Timing


class Searching(Protocol):
    """What answers searches, of one release or of several."""

    @property
    def pipelines(self) -> Mapping[str, PipelineConfig]:
        """Ways to search, by name."""

    async def search(self, request: SearchRequest) -> SearchResponse:
        """Documents that answer a question, best first.

        Raises:
            ApiError: if there are none to give.
        """

    async def ready(self) -> Readiness:
        """That model and index answer now.

        Raises:
            ApiError: if one of them does not within the time limit.
        """


class SearchService:
    """Answers searches of one index.

    Args:
        meta: of the index.
        encoder: of questions.
        index: that is asked.
        ready_timeout_s: after which ``ready`` says no, in seconds.
        admission: of searches.
        kept_mb: of answers that are kept to be given again, in MiB, until something is written to the index.
        pipelines: ways to search by name, beside ``default``.
        ranking: for pipelines that rerank.
        stored: answers that other replicas have kept; None where there are none.
        decided_by: names all that decides an answer but the question and what was written, in that store.
        count: told of each look-up of a kept answer.

    Raises:
        InputError: if a pipeline asks for what the index has not.
    """

    def __init__(
        self,
        meta: IndexMeta,
        encoder: QuestionEncoder,
        index: Index,
        ready_timeout_s: float,
        admission: Admission,
        kept_mb: int = 0,
        pipelines: Mapping[str, PipelineConfig] | None = None,
        ranking: RankingService | None = None,
        stored: AnswerStore | None = None,
        decided_by: str = "",
        count: Count = not_counted,
    ) -> None:
        self._meta, self._encoder, self._index, self._ready_timeout_s = meta, encoder, index, ready_timeout_s
        self._admission, self._ranking, self._version = admission, ranking, _version(meta)
        self._stored, self._decided_by = stored, decided_by
        self.pipelines = {DEFAULT: PipelineConfig(), **(pipelines or {})}
        for name, pipeline in self.pipelines.items():
            _check_pipeline(name, pipeline, meta, ranking)
        self._answers = SharedAnswers[tuple[_Asked, _Found]](
            kept_mb * 2**20,
            lambda answer: _whole(*answer),
            lambda answer: size_of(answer[1].results),
            lambda outcome: count("memory", outcome),
        )

    async def search(self, request: SearchRequest) -> SearchResponse:
        """Documents that answer a question, best first; a page of them where the request has a cursor.

        Raises:
            ApiError: if there is no such pipeline, the index cannot answer the request, the cursor is not one of this
                question, too much waits already, or the encoder is down and words alone do not do.
        """
        pipeline = self._pipeline(request.pipeline)
        asked = self._asked(request, pipeline)
        begins, sealed = 0, repr((self._version, request.pipeline, asked))
        if request.cursor is not None and request.cursor != FIRST:
            cursor = Cursor.opened(request.cursor, sealed)
            query = replace(asked.query, mode=cursor.mode)
            begins, asked = cursor.offset, replace(asked, query=query, rerank=cursor.reranked, without_models=False)
        if request.explain:  # anew: its times are those of this request
            found = await self._found(asked, explained=True)
        else:  # 1, 1.0 and True are equal, and other filters: so questions are compared by how they are written
            key = (await self._index.version(), repr(asked))
            _, found = await self._answers.get(key, lambda: self._shared(asked, *key))
        ends = begins + (request.top_k or pipeline.top_k)
        more = request.cursor is not None and ends < len(found.results)
        return SearchResponse(
            query=request.query,
            mode=found.mode,
            pipeline=request.pipeline,
            reranked=found.reranked,
            results=found.results[begins:ends],
            next_cursor=Cursor(ends, found.mode, found.reranked).sealed(sealed) if more else None,
            timing_ms=found.timing_ms if request.explain else None,
        )

    def _pipeline(self, name: str) -> PipelineConfig:
        if name not in self.pipelines:
            message = f"there is no pipeline {name!r}; {nearest(name, self.pipelines)}"
            raise ApiError("not_found", message, "pipeline")
        return self.pipelines[name]

    def _asked(self, request: SearchRequest, pipeline: PipelineConfig) -> _Asked:
        """What a request asks for, by its own fields and those of its pipeline."""
        whole = pipeline.rerank or request.cursor is not None
        wanted = pipeline.candidates if whole else request.top_k or pipeline.top_k
        query = checked_query(self._meta, request, request.mode or pipeline.mode, wanted)
        return _Asked(query, pipeline.rerank, pipeline.min_score, request.bm25_if_encoder_down)

    async def _shared(self, asked: _Asked, written: int, question: str) -> tuple[_Asked, _Found]:
        """An answer that another replica has kept, or else one made now, for it to find."""
        if self._stored is None:
            return asked, await self._found(asked, explained=False)
        key, clock = answer_key(self._decided_by, written, question), Clock()
        kept = await self._stored.get(key)
        if kept is not None:
            return asked, _Found(kept.results, kept.mode, kept.reranked, clock.timing())
        found = await self._found(asked, explained=False)
        if _whole(asked, found):
            self._stored.put(key, StoredAnswer(results=found.results, mode=found.mode, reranked=found.reranked))
        return asked, found

    async def _found(self, asked: _Asked, explained: bool) -> _Found:
        query, clock = asked.query, Clock()
        with self._admission.admitted(1):
            try:
                results = await self._find(query, explained, clock)
            except EncoderUnavailable as error:
                if not asked.without_models:
                    raise ApiError("unavailable", f"{error.problem}; mode bm25 works without it", "mode") from None
                query = replace(query, mode="bm25")
                results = await self._find(query, explained, clock)
            reranked = False
            if asked.rerank:
                try:
                    results, reranked = await self._reranked(query.text, results, clock), True
                except ApiError as error:
                    if error.type != "unavailable" or not asked.without_models:
                        raise
        if asked.min_score is not None:
            results = [one for one in results if one.score >= asked.min_score]
        return _Found(results, query.mode, reranked, clock.timing())

    async def warm_up(self) -> None:
        """Search for two full batches of questions twice before anybody asks: admission gets the second one's rate.

        Raises:
            EncoderUnavailable: if there are no vectors in time.
        """
        queries = [SearchQuery(f"which rate has question {one}") for one in range(math.ceil(2 * self._admission.full))]
        for _ in range(2):  # what is first of its shape takes longer
            started = time.perf_counter()
            made = await self._encoder.embed([query.text for query in queries], "query")  # past the cache of questions
            pairs = zip(queries, made.vectors, strict=True)
            await asyncio.gather(*(self._index.search(query, vector, None) for query, vector in pairs))
        self._admission.expect(len(queries) / (time.perf_counter() - started))

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

    async def _find(self, query: SearchQuery, explained: bool, clock: Clock) -> list[SearchResult]:
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
                return [result_of(one.hit, one, rank) for rank, one in enumerate(reasons, 1)]
            return [result_of(hit) for hit in await self._index.search(query, vector, tokens)]

    async def _reranked(self, question: str, found: list[SearchResult], clock: Clock) -> list[SearchResult]:
        """The same in the ranker's order, with its scores."""
        assert self._ranking is not None, "pipelines without a ranker are refused at start"
        if not found:
            return found
        longest = self._ranking.limits.max_chars
        texts = [passage_text(one.title if one.title != one.document_id else "", one.text)[:longest] for one in found]
        with phase("rank"), clock("rank"):
            ranked, _ = await self._ranking.rank(question, texts, None, "results", found=True)
        results = []
        for one in ranked:
            result = found[one.place]
            why = result.explanation
            why = None if why is None else why.model_copy(update={"ranker_score": one.relevance})
            results.append(result.model_copy(update={"score": one.relevance, "explanation": why}))
        return results


def _whole(asked: _Asked, found: _Found) -> bool:
    """Whether nothing was left out because a model was unavailable, so that the answer may be given again."""
    return (asked.query.mode, asked.rerank) == (found.mode, found.reranked)


def _version(meta: IndexMeta) -> str:
    """What tells an index from those before and after it."""
    return hashlib.blake2b(meta.model_dump_json().encode(), digest_size=16).hexdigest()


def _check_pipeline(name: str, pipeline: PipelineConfig, meta: IndexMeta, ranking: RankingService | None) -> None:
    if pipeline.mode == "late" and meta.late_dim is None:
        raise InputError(
            f"serve.pipelines.{name}: mode late, and the index holds no token vectors",
            "Add `late: {}` to the run file and index again, or choose another mode.",
        )
    if pipeline.rerank and ranking is None:
        raise ValueError(f"the pipeline {name} reranks: give the service a ranking")


def checked_query(meta: IndexMeta, request: SearchRequest, mode: Mode, documents: int) -> SearchQuery:
    """The query of a request.

    Args:
        meta: of the index.
        request: with question and filter.
        mode: how to search.
        documents: how many are wanted.

    Raises:
        ApiError: if the index cannot answer it; it names the field.
    """
    try:
        query = SearchQuery(request.query, mode, documents, parse_filter(request.filter))
        check_query(meta, query)
    except InputError as error:
        about = "mode" if error.problem.startswith("mode") else "filter"
        raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", about) from None
    return query
