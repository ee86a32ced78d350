"""What search has found, put in the order of a cross-encoder; for many questions at once."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from data.encoders.config import BATCH_TOKENS
from data.passages.text import passage_text
from retrieval.blend import Blend
from retrieval.cross_encoder import CrossEncoderModel
from retrieval.pairs import PairScorer
from retrieval.search import SearchHit

logger = logging.getLogger("catena")

RERANKED = "reranked"  # name of the pipeline: hybrid search, its best documents put in the order of the ranker

Search = Callable[[Sequence[str], Any, int], Sequence[Sequence[SearchHit]]]
"""Questions, name of a pipeline and number of documents to the documents of each, best first."""


class Reranker:
    """Reads each question with the best documents that were found for it.

    A question that the cross-encoder cannot read keeps the order in which its documents were found.

    Args:
        scorer: the cross-encoder.
        blend: what makes scores of its logits.
        depth: documents of each question that it reads.
    """

    def __init__(self, scorer: PairScorer, blend: Blend, depth: int) -> None:
        self._scorer, self._blend, self._depth = scorer, blend, depth
        self._told = False

    @classmethod
    def open(cls, model: str, depth: int, key: str) -> Self:
        """A cross-encoder that has passed its self-test, with a batch on each core.

        Args:
            model: folder or name.
            depth: documents of each question that it reads.
            key: of the run file that names it, for messages.

        Raises:
            InputError: if it cannot be opened, is no ranker, or gives no numbers.
        """
        import torch

        opened = CrossEncoderModel(model, BATCH_TOKENS, key, torch.get_num_threads())
        opened.check()
        return cls(opened, opened.blend, depth)

    def beside(self, search: Search) -> Search:
        """Search with one pipeline more, ``reranked``: hybrid, its best documents put in order."""

        def with_reranked(questions: Sequence[str], pipeline: Any, top_k: int) -> Sequence[Sequence[SearchHit]]:  # noqa: ANN401
            if pipeline != RERANKED:
                return search(questions, pipeline, top_k)
            found = search(questions, "hybrid", max(top_k, self._depth))
            return [hits[:top_k] for hits in self.rerank(questions, found)]

        return with_reranked

    def rerank(self, questions: Sequence[str], found: Sequence[Sequence[SearchHit]]) -> list[list[SearchHit]]:
        """The same documents in another order, with probabilities as scores; those below ``depth`` stay as they are.

        Args:
            questions: Q texts.
            found: what search has found for each, best first.

        Raises:
            EncoderUnavailable: if the model gives a pair no finite number.
        """
        readable = [self._scorer.fits(text) for text in questions]
        if not (all(readable) or self._told):
            self._told = True
            most = self._scorer.longest // 2
            logger.warning("%s: questions of more than %d tokens keep the order of search", self._scorer.name, most)
        read = [hits[: self._depth] if fits else [] for fits, hits in zip(readable, found, strict=True)]
        pairs = [(text, hit_text(hit), None) for text, hits in zip(questions, read, strict=True) for hit in hits]
        logits = np.array([logit for logit, _, _ in self._scorer.score(pairs)])
        ends = np.cumsum([len(hits) for hits in read])
        return [
            [*self._ordered(hits, logits[end - len(hits) : end]), *all_hits[len(hits) :]]
            for hits, all_hits, end in zip(read, found, ends, strict=True)
        ]

    def _ordered(self, hits: Sequence[SearchHit], logits: npt.NDArray[np.float64]) -> list[SearchHit]:
        scores = self._blend.scores(logits, ranked=True)
        relevance = self._blend.relevance(scores, ranked=True)
        return [replace(hits[n], score=float(relevance[n])) for n in np.argsort(-scores, kind="stable")]


def hit_text(hit: SearchHit) -> str:
    """What a cross-encoder reads of a document: its title and the passage that was found, as the service has it."""
    return passage_text(hit.title if hit.title != hit.document_id else "", hit.text)
