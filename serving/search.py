"""Search as the service answers it: a request checked, its question encoded, the index asked."""

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data.errors import EncoderUnavailable, InputError, nearest
from retrieval.boosted import BoostedRanker, Effect
from retrieval.config import Mode
from retrieval.explain import Explained
from retrieval.filters import parse_filter
from retrieval.index import IndexMeta
from retrieval.matched import MatchedWord
from retrieval.pipelines import (
    Ranker,
    Scores,
    check_pipeline,
    found_above,
    in_mode,
    later_steps,
    placed,
    query_of,
    user_steps,
)
from retrieval.reranking import hit_text
from retrieval.search import SearchHit, SearchQuery, check_query
from retrieval.steps import CallStep, FindStep, Ranks, RankStep, Step, every_pipeline
from serving.admission import Admission
from serving.answers import SharedAnswers
from serving.context import phase
from serving.cursor import FIRST, Cursor
from serving.embedding import TextEncoder
from serving.errors import ApiError
from serving.ranking import RankingService
from serving.results import Clock, result_of, size_of
from serving.schemas import Readiness, SearchRequest, SearchResponse, SearchResult, Timing
from serving.stored_answers import AnswerStore, Count, StoredAnswer, answer_key, not_counted

logger = logging.getLogger("catena")

TOP_K = 10  # documents answered where a request does not say

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
        pipeline: its name.
        steps: of it.
        ordered: whether those behind finding put documents in order.
        without_models: whether words alone do where the encoder is unavailable, and no order where a ranker is.
    """

    query: SearchQuery
    pipeline: str
    steps: tuple[Step, ...] = field(repr=False)  # named by the pipeline
    ordered: bool
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
    def pipelines(self) -> Mapping[str, tuple[Step, ...]]:
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
        pipelines: ways to search by name; those of the modes where None.
        ranking: for their steps that rank by a cross-encoder.
        stored: answers that other replicas have kept; None where there are none.
        decided_by: names all that decides an answer but the question and what was written, in that store.
        count: told of each look-up of a kept answer.
        rankers: for their other steps that rank.
        links: whether the index follows links.

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
        pipelines: Mapping[str, tuple[Step, ...]] | None = None,
        ranking: RankingService | None = None,
        stored: AnswerStore | None = None,
        decided_by: str = "",
        count: Count = not_counted,
        rankers: Mapping[Ranks, Ranker] | None = None,
        links: bool = False,
    ) -> None:
        self._meta, self._encoder, self._index, self._ready_timeout_s = meta, encoder, index, ready_timeout_s
        self._admission, self._ranking, self._version = admission, ranking, _version(meta)
        self._stored, self._decided_by = stored, decided_by
        self.pipelines = pipelines or every_pipeline({}, meta.late_dim is not None, None)
        self._rankers = rankers or {}
        for name, steps in self.pipelines.items():
            _check_pipeline(name, steps, meta, ranking, tuple(self._rankers), links)
        self._own = user_steps(self.pipelines)
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
        asked = self._asked(request, self._pipeline(request.pipeline))
        begins, sealed = 0, ""
        if request.cursor is not None:
            sealed = repr((self._version, self._decided_by, asked.steps, asked))
        if request.cursor is not None and request.cursor != FIRST:
            cursor = Cursor.opened(request.cursor, sealed)
            query = asked.query if cursor.mode == asked.query.mode else in_mode(asked.query, cursor.mode)
            begins, asked = cursor.offset, replace(asked, query=query, ordered=cursor.reranked, without_models=False)
        if request.explain:  # anew: its times are those of this request
            found = await self._found(asked, explained=True)
        else:  # 1, 1.0 and True are equal, and other filters: so questions are compared by how they are written
            key = (await self._index.version(), repr(asked))
            _, found = await self._answers.get(key, lambda: self._shared(asked, *key))
        ends = begins + (request.top_k or TOP_K)
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

    def _pipeline(self, name: str) -> tuple[Step, ...]:
        if name not in self.pipelines:
            message = f"there is no pipeline {name!r}; {nearest(name, self.pipelines)}"
            raise ApiError("not_found", message, "pipeline")
        return self.pipelines[name]

    def _asked(self, request: SearchRequest, steps: tuple[Step, ...]) -> _Asked:
        """What a request asks for, by its own fields and the steps of its pipeline."""
        find, later = steps[0], later_steps(steps)
        assert isinstance(find, FindStep), "checked when it was read"
        wanted = find.depth if request.cursor is not None else request.top_k or TOP_K
        query = checked_query(self._meta, request, steps, wanted)
        return _Asked(query, request.pipeline, steps, bool(later), request.bm25_if_encoder_down)

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
                hits, words = await self._find(query, explained, clock)
            except EncoderUnavailable as error:
                if not asked.without_models:
                    raise ApiError("unavailable", f"{error.problem}; mode bm25 works without it", "mode") from None
                query = in_mode(query, "bm25")
                hits, words = await self._find(query, explained, clock)
            hits, ordered = found_above(asked.steps, hits, query.mode), False
            effects: dict[str, tuple[Effect, ...]] | None = {} if explained else None
            if asked.ordered:
                try:
                    with phase("rank"), clock("rank"):
                        hits, ordered = await self._in_order(asked, hits, effects), True
                except ApiError as error:
                    if error.type != "unavailable" or not asked.without_models:
                        raise
        results = [
            result_of(
                hit, words.get(hit.document_id, ()) if explained else None, (effects or {}).get(hit.document_id, ())
            )
            for hit in hits
        ]
        return _Found(results, query.mode, ordered, clock.timing())

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

    async def _find(
        self, query: SearchQuery, explained: bool, clock: Clock
    ) -> tuple[list[SearchHit], dict[str, tuple[MatchedWord, ...]]]:
        """What the index finds; and by document the words of the question that it has, where they are asked for."""
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

    async def _in_order(
        self, asked: _Asked, hits: list[SearchHit], effects: dict[str, tuple[Effect, ...]] | None
    ) -> list[SearchHit]:
        """Documents as the steps of the pipeline put them in order that come behind finding.

        Args:
            asked: with the steps.
            hits: best first.
            effects: filled with those of boosted trees, by document; None where nobody asks.
        """
        question = asked.query.text
        for step in later_steps(asked.steps):
            if not hits:
                return hits
            if isinstance(step, CallStep):
                hits = await self._by_own_step(asked.pipeline, step, question, hits)
                continue
            best = hits[: step.depth]
            if step.rank == "cross-encoder":
                scores: Scores | None = await self._relevance(question, best)
            else:
                ranker = self._rankers[step.rank]
                (scores,) = await asyncio.to_thread(ranker.score, [question], [best])
                if effects is not None and isinstance(ranker, BoostedRanker):
                    of_each = await asyncio.to_thread(ranker.effects, question, best)
                    effects.update({hit.document_id: one for hit, one in zip(best, of_each, strict=True)})
            hits = placed(hits, step, scores)
        return hits

    async def _by_own_step(
        self, pipeline: str, step: CallStep, question: str, hits: list[SearchHit]
    ) -> list[SearchHit]:
        try:
            (hits,) = await asyncio.to_thread(self._own[pipeline, str(step)], [question], [hits])
        except InputError as error:
            logger.error("%s", error)
            message = f"the step {step.call} of this pipeline failed; the reason is in the server's log"
            raise ApiError("internal", message, "pipeline", "step_failed") from error
        return hits

    async def _relevance(self, question: str, found: list[SearchHit]) -> Scores:
        """Probabilities by the cross-encoder, in the order of the documents."""
        assert self._ranking is not None, "pipelines without a ranker are refused at start"
        longest = self._ranking.limits.max_chars
        texts = [hit_text(one)[:longest] for one in found]
        ranked, _ = await self._ranking.rank(question, texts, None, "results", found=True)
        scores = np.empty(len(found))
        for one in ranked:
            scores[one.place] = one.relevance
        return scores


def _whole(asked: _Asked, found: _Found) -> bool:
    """Whether nothing was left out because a model was unavailable, so that the answer may be given again."""
    return (asked.query.mode, asked.ordered) == (found.mode, found.reranked)


def _version(meta: IndexMeta) -> str:
    """What tells an index from those before and after it."""
    return hashlib.blake2b(meta.model_dump_json().encode(), digest_size=16).hexdigest()


def _check_pipeline(
    name: str,
    steps: tuple[Step, ...],
    meta: IndexMeta,
    ranking: RankingService | None,
    ranks_by: tuple[Ranks, ...],
    links: bool,
) -> None:
    ranks: tuple[Ranks, ...] = ranks_by if ranking is None else ("cross-encoder", *ranks_by)
    check_pipeline(name, steps, meta, ranks, links)
    for step in steps:
        reads = isinstance(step, RankStep) and step.rank == "cross-encoder"
        if ranking is not None and reads and step.depth > ranking.limits.max_texts:
            raise InputError(
                f"pipelines.{name}: the ranker is given {step.depth} documents and takes serve.max_texts, "
                f"{ranking.limits.max_texts}",
                "Lower `depth`, or raise serve.max_texts.",
            )


def checked_query(meta: IndexMeta, request: SearchRequest, steps: tuple[Step, ...], documents: int) -> SearchQuery:
    """The query of a request.

    Args:
        meta: of the index.
        request: with question, filter and perhaps a mode.
        steps: of its pipeline.
        documents: how many are wanted.

    Raises:
        ApiError: if the index cannot answer it; it names the field.
    """
    try:
        query = query_of(steps, request.query, documents, parse_filter(request.filter))
        if request.mode is not None and request.mode != query.mode:
            query = in_mode(query, request.mode)
        check_query(meta, query)
    except InputError as error:
        about = "mode" if error.problem.startswith("mode") else "filter"
        raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", about) from None
    return query
