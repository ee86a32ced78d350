"""Search as the service answers it: a request checked, documents found and put in order, the answer kept."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from data.errors import EncoderUnavailable, nearest
from retrieval.boosted import Effect
from retrieval.index import IndexMeta
from retrieval.pipelines import Ranker, found_above, in_mode
from retrieval.steps import Ranks, Step, every_pipeline
from serving.admission import Admission
from serving.answers import SharedAnswers
from serving.context import phase
from serving.cursor import FIRST, Cursor
from serving.errors import ApiError
from serving.first_stage import FirstStage, Index, QuestionEncoder
from serving.later_steps import LaterSteps
from serving.questions import TOP_K, Asked, asked_for, index_version
from serving.ranking import RankingService
from serving.results import Clock, Found, result_of, size_of
from serving.schemas import Readiness, SearchRequest, SearchResponse
from serving.stored_answers import AnswerStore, Count, StoredAnswer, answer_key, not_counted


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
        self._meta, self._version, self._decided_by, self._stored = meta, index_version(meta), decided_by, stored
        self._admission, self._ready_timeout_s = admission, ready_timeout_s
        self.pipelines = pipelines or every_pipeline({}, meta.late_dim is not None, None)
        self._first_stage = FirstStage(meta, encoder, index)
        self._later_steps = LaterSteps(self.pipelines, meta, ranking, rankers or {}, links)
        self._answers = SharedAnswers[tuple[Asked, Found]](
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
        asked = asked_for(self._meta, request, self._pipeline(request.pipeline))
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
            key = (await self._first_stage.version(), repr(asked))
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

    async def _shared(self, asked: Asked, written: int, question: str) -> tuple[Asked, Found]:
        """An answer that another replica has kept, or else one made now, for it to find."""
        if self._stored is None:
            return asked, await self._found(asked, explained=False)
        key, clock = answer_key(self._decided_by, written, question), Clock()
        kept = await self._stored.get(key)
        if kept is not None:
            return asked, Found(kept.results, kept.mode, kept.reranked, clock.timing())
        found = await self._found(asked, explained=False)
        if _whole(asked, found):
            self._stored.put(key, StoredAnswer(results=found.results, mode=found.mode, reranked=found.reranked))
        return asked, found

    async def _found(self, asked: Asked, explained: bool) -> Found:
        query, clock = asked.query, Clock()
        with self._admission.admitted(1):
            try:
                hits, words = await self._first_stage.find(query, explained, clock)
            except EncoderUnavailable as error:
                if not asked.without_models:
                    raise ApiError("unavailable", f"{error.problem}; mode bm25 works without it", "mode") from None
                query = in_mode(query, "bm25")
                hits, words = await self._first_stage.find(query, explained, clock)
            hits, ordered = found_above(asked.steps, hits, query.mode), False
            effects: dict[str, tuple[Effect, ...]] | None = {} if explained else None
            if asked.ordered:
                try:
                    with phase("rank"), clock("rank"):
                        question = asked.query.text
                        hits = await self._later_steps.in_order(asked.pipeline, asked.steps, question, hits, effects)
                        ordered = True
                except ApiError as error:
                    if error.type != "unavailable" or not asked.without_models:
                        raise
        told = (effects or {}).get
        results = [
            result_of(hit, words.get(hit.document_id, ()) if explained else None, told(hit.document_id, ()))
            for hit in hits
        ]
        return Found(results, query.mode, ordered, clock.timing())

    async def warm_up(self) -> None:
        """Search for two full batches of questions twice before anybody asks: admission gets the second one's rate.

        Raises:
            EncoderUnavailable: if there are no vectors in time.
        """
        self._admission.expect(await self._first_stage.measured_rate(self._admission.full))

    async def ready(self) -> Readiness:
        """That model and index answer now.

        Raises:
            ApiError: if one of them does not within the time limit.
        """
        return await self._first_stage.ready(self._ready_timeout_s)


def _whole(asked: Asked, found: Found) -> bool:
    """Whether nothing was left out because a model was unavailable, so that the answer may be given again."""
    return (asked.query.mode, asked.ordered) == (found.mode, found.reranked)
