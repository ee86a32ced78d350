"""Searching by a list of steps: the same one over many questions at once and in the service.

What needs the index is done where the index is (``Retriever``): finding, token vectors, links. The other steps put in
order what it has found, each by scores of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from retrieval.boosted import BoostedRanker, Effect
from retrieval.config import Mode
from retrieval.explain import Explained, explain
from retrieval.filters import Filter, parse_filter
from retrieval.hits import SearchHit
from retrieval.index import IndexMeta
from retrieval.query import SearchQuery, check_query
from retrieval.search import Retriever
from retrieval.steps import BUILT_IN, CallStep, ExpandStep, FindStep, Ranks, RankStep, Step, TokensStep, mode_of, named
from retrieval.user_steps import user_steps

Scores = npt.NDArray[np.float64]


class Ranker(Protocol):
    """What a step ``rank`` ranks by."""

    def score(self, questions: Sequence[str], found: Sequence[Sequence[SearchHit]]) -> Sequence[Scores | None]:
        """A score for each document of each question, float64 (N,); None where the order is to stay.

        Args:
            questions: Q texts.
            found: documents of each, best first.
        """


def query_of(
    steps: Sequence[Step], text: str, wanted: int, filter: Filter | None = None, traced: bool = False
) -> SearchQuery:
    """What a pipeline asks the index.

    Args:
        steps: of the pipeline.
        text: the question.
        wanted: documents that are answered.
        filter: what their metadata must be.
        traced: whether it is said how they were found; boosted trees and a user's steps are always told.
    """
    of = {type(step): step for step in steps}
    find, tokens, expand = of[FindStep], of.get(TokensStep), of.get(ExpandStep)
    assert isinstance(find, FindStep), "checked when it was read"
    handed_on = find.depth if not isinstance(tokens, TokensStep) else tokens.depth
    told = any(isinstance(step, CallStep) or (isinstance(step, RankStep) and step.rank == "boosted") for step in steps)
    return SearchQuery(
        text,
        mode_of(tuple(steps)),
        max(handed_on, wanted) if len(steps) > 1 else wanted,
        filter or Filter(),
        find=find if (find.weights, find.fusion) != (None, None) or tokens is not None else None,
        tokens=tokens.depth if isinstance(tokens, TokensStep) else None,
        expand=expand if isinstance(expand, ExpandStep) else None,
        traced=traced or told,
    )


def in_mode(query: SearchQuery, mode: Mode) -> SearchQuery:
    """The same question found by another mode, as that finds by itself."""
    return replace(query, mode=mode, find=None, tokens=None)


def later_steps(steps: Sequence[Step]) -> tuple[RankStep | CallStep, ...]:
    """The steps that put in order what the index has found."""
    return tuple(step for step in steps if isinstance(step, RankStep | CallStep))


def found_above(steps: Sequence[Step], hits: Sequence[SearchHit], mode: Mode) -> list[SearchHit]:
    """What the index has found without what ``min_score`` of the first step leaves out.

    Args:
        steps: of the pipeline.
        hits: that were found.
        mode: by which; the scores of another than the pipeline's are not what its bound is of.
    """
    find = steps[0]
    least = find.min_score if isinstance(find, FindStep) and mode == mode_of(tuple(steps)) else None
    return list(hits) if least is None else [hit for hit in hits if hit.score >= least]


def placed(hits: Sequence[SearchHit], step: RankStep, scores: Scores | None) -> list[SearchHit]:
    """Documents in the order of their scores, equal ones as they were; those that have none stay below.

    Args:
        hits: best first.
        step: that ranks.
        scores: float64 (N,), of the first N of them; None leaves the order as it is.
    """
    if scores is None:
        return list(hits)
    order = np.argsort(-scores, kind="stable")
    ranked = [hits[n].placed(step.rank, rank, float(scores[n])) for rank, n in enumerate(order, 1)]
    if step.min_score is None:
        return [*ranked, *hits[len(scores) :]]
    return [hit for hit in ranked if hit.score >= step.min_score]


class PipelineSearch:
    """Searches by pipelines, for many questions at once.

    Args:
        retriever: asks the index; it has an expander where a pipeline follows links.
        pipelines: by name.
        rankers: what their steps rank by.

    Raises:
        InputError: if a pipeline needs what is not there.
    """

    def __init__(
        self,
        retriever: Retriever,
        pipelines: Mapping[str, tuple[Step, ...]] = BUILT_IN,
        rankers: Mapping[Ranks, Ranker] | None = None,
    ) -> None:
        self.retriever, self.pipelines, self._rankers = retriever, pipelines, rankers or {}
        for name, steps in pipelines.items():
            check_pipeline(name, steps, retriever.meta, tuple(self._rankers), retriever.follows_links)
        self._own = user_steps(pipelines)

    def search(
        self,
        questions: Sequence[str],
        pipeline: str,
        top_k: int = 10,
        filter: Filter | Mapping[str, Any] | None = None,
    ) -> list[list[SearchHit]]:
        """The best documents of each question, best first, at most ``top_k``.

        Args:
            questions: Q texts.
            pipeline: its name.
            top_k: documents wanted of each.
            filter: what their metadata must be; as a mapping in the form of ``retrieval.filters``.

        Raises:
            InputError: if there is no such pipeline, a step fails, or the index cannot answer the filter.
        """
        steps = named(self.pipelines, pipeline)
        must_hold = filter if isinstance(filter, Filter) else parse_filter(filter or {})
        asked = [query_of(steps, text, top_k, must_hold) for text in questions]
        for query in asked:
            check_query(self.retriever.meta, query)
        vectors, tokens = self.retriever.encoded(questions, mode_of(steps))
        found = [found_above(steps, hits, mode_of(steps)) for hits in self.retriever.answer(asked, vectors, tokens)]
        return [hits[:top_k] for hits in self.ordered(pipeline, questions, found)]

    def explain(self, question: str, pipeline: str, top_k: int = 10, filter: Filter | None = None) -> list[Explained]:
        """The best documents of one question, each with its reasons; otherwise as ``search``."""
        steps = named(self.pipelines, pipeline)
        query = query_of(steps, question, top_k, filter)
        check_query(self.retriever.meta, query)
        vectors, tokens = self.retriever.encoded([question], query.mode)
        found = explain(self.retriever, query, vectors[0], None if tokens is None else tokens[0])
        words = {one.hit.document_id: one.words for one in found}
        effects: dict[str, tuple[Effect, ...]] = {}

        def keep_effects(step: RankStep, best: Sequence[Sequence[SearchHit]]) -> None:
            ranker = self._rankers[step.rank]
            if isinstance(ranker, BoostedRanker):
                of_each = ranker.effects(question, best[0])
                effects.update({hit.document_id: one for hit, one in zip(best[0], of_each, strict=True)})

        (hits,) = self.ordered(
            pipeline, [question], [found_above(steps, [one.hit for one in found], query.mode)], keep_effects
        )
        return [Explained(hit, words[hit.document_id], effects.get(hit.document_id, ())) for hit in hits[:top_k]]

    def ordered(
        self,
        pipeline: str,
        questions: Sequence[str],
        found: Sequence[Sequence[SearchHit]],
        watch: Callable[[RankStep, Sequence[Sequence[SearchHit]]], None] = lambda step, best: None,
    ) -> list[list[SearchHit]]:
        """What the index has found, put in order by the steps behind that.

        Args:
            pipeline: its name.
            questions: Q texts.
            found: documents of each, best first.
            watch: is shown what each step that ranks is given.
        """
        hits = [list(of_one) for of_one in found]
        for step in later_steps(self.pipelines[pipeline]):
            if isinstance(step, CallStep):
                hits = self._own[pipeline, str(step)](questions, hits)
                continue
            best = [of_one[: step.depth] for of_one in hits]
            watch(step, best)
            scores = self._rankers[step.rank].score(questions, best)
            hits = [placed(of_one, step, score) for of_one, score in zip(hits, scores, strict=True)]
        return hits


def check_pipeline(name: str, steps: Sequence[Step], meta: IndexMeta, ranks_by: Sequence[Ranks], links: bool) -> None:
    """Refuse a pipeline that needs what is not there.

    Args:
        name: of it.
        steps: of it.
        meta: of the index that is asked.
        ranks_by: what there is to rank by.
        links: whether links can be followed.

    Raises:
        InputError: if the index holds no token vectors, or there is no such model or no links.
    """
    where = f"pipelines.{name}"
    if meta.late_dim is None and mode_of(tuple(steps)) == "late":
        raise InputError(
            f"{where}: rank: tokens, and the index holds no token vectors",
            "Add `late: {}` to the run file and index again, or leave the step out.",
        )
    for step in steps:
        if isinstance(step, RankStep) and step.rank not in ranks_by:
            section = "ranker.model" if step.rank == "cross-encoder" else "boosted"
            raise InputError(f"{where}: rank: {step.rank}, and the run has none", f"See `{section}` of the run file.")
        if isinstance(step, ExpandStep) and not links:
            raise InputError(f"{where}: expand: {step.expand}, and the corpus has no links", "Leave the step out.")
