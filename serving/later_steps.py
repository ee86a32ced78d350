"""The steps of a pipeline behind finding: documents put in order by rankers and by the user's own code."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from data.errors import InputError
from retrieval.boosted import BoostedRanker, Effect
from retrieval.hits import SearchHit
from retrieval.index import IndexMeta
from retrieval.pipelines import Ranker, Scores, check_pipeline, later_steps, placed
from retrieval.reranking import hit_text
from retrieval.steps import CallStep, Ranks, RankStep, Step
from retrieval.user_steps import user_steps
from serving.errors import ApiError
from serving.ranking import RankingService

logger = logging.getLogger("catena")


class LaterSteps:
    """Puts in order what was found.

    Args:
        pipelines: ways to search by name.
        meta: of the index.
        ranking: for the steps that rank by a cross-encoder; None where there is none.
        rankers: for the other steps that rank.
        links: whether the index follows links.

    Raises:
        InputError: if a pipeline asks for what the index has not.
    """

    def __init__(
        self,
        pipelines: Mapping[str, tuple[Step, ...]],
        meta: IndexMeta,
        ranking: RankingService | None,
        rankers: Mapping[Ranks, Ranker],
        links: bool,
    ) -> None:
        self._ranking, self._rankers, self._own = ranking, rankers, user_steps(pipelines)
        ranks: tuple[Ranks, ...] = (*(() if ranking is None else ("cross-encoder",)), *rankers)
        for name, steps in pipelines.items():
            check_pipeline(name, steps, meta, ranks, links)
            self._check_depth(name, steps)

    def _check_depth(self, name: str, steps: tuple[Step, ...]) -> None:
        most = None if self._ranking is None else self._ranking.limits.max_texts
        for step in steps:
            reads = isinstance(step, RankStep) and step.rank == "cross-encoder"
            if most is not None and reads and step.depth > most:
                raise InputError(
                    f"pipelines.{name}: the ranker is given {step.depth} documents and takes serve.max_texts, {most}",
                    "Lower `depth`, or raise serve.max_texts.",
                )

    async def in_order(
        self,
        pipeline: str,
        steps: Sequence[Step],
        question: str,
        hits: list[SearchHit],
        effects: dict[str, tuple[Effect, ...]] | None,
    ) -> list[SearchHit]:
        """Documents as the steps of a pipeline put them in order that come behind finding.

        Args:
            pipeline: its name.
            steps: of it.
            question: as it was asked.
            hits: best first.
            effects: filled with those of boosted trees, by document; None where nobody asks.

        Raises:
            ApiError: if a ranker is unavailable, or the user's own step fails.
        """
        for step in later_steps(steps):
            if not hits:
                return hits
            if isinstance(step, CallStep):
                hits = await self._by_own_step(pipeline, step, question, hits)
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
