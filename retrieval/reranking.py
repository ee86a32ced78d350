"""What search has found, put in the order of a cross-encoder; for many questions at once."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data.passages.text import passage_text
from retrieval.blend import Blend
from retrieval.pairs import PairScorer
from retrieval.search import SearchHit

logger = logging.getLogger("catena")

RERANKED = "reranked"  # name of the pipeline: hybrid search, its best documents put in the order of the ranker


class Reranker:
    """Reads each question with the best documents that were found for it.

    Args:
        scorer: the cross-encoder.
        blend: what makes scores of its logits.
        depth: documents of each question that it reads.

    Attributes:
        too_long: questions so far that the cross-encoder could not read; they keep the order in which they came.
    """

    def __init__(self, scorer: PairScorer, blend: Blend, depth: int) -> None:
        self._scorer, self._blend, self._depth = scorer, blend, depth
        self.too_long = 0

    def rerank(self, questions: Sequence[str], found: Sequence[Sequence[SearchHit]]) -> list[list[SearchHit]]:
        """The same documents in another order, with probabilities as scores; those below ``depth`` stay as they are.

        Args:
            questions: Q texts.
            found: what search has found for each, best first.

        Raises:
            EncoderUnavailable: if the model gives a pair no finite number.
        """
        read = [hits[: self._depth] if self._scorer.fits(text) else [] for text, hits in zip(questions, found, strict=True)]
        self.too_long += sum(not of_one and bool(hits) for of_one, hits in zip(read, found, strict=True))
        pairs = [(text, hit_text(hit), None) for text, hits in zip(questions, read, strict=True) for hit in hits]
        logits = np.array([logit for logit, _, _ in self._scorer.score(pairs)])
        ends = np.cumsum([len(hits) for hits in read])
        return [
            [*self._ordered(hits, logits[end - len(hits) : end]), *rest[len(hits) :]]
            for hits, rest, end in zip(read, found, ends, strict=True)
        ]

    def _ordered(self, hits: Sequence[SearchHit], logits: np.ndarray) -> list[SearchHit]:
        scores = self._blend.scores(logits, ranked=True)
        relevance = self._blend.relevance(scores, ranked=True)
        return [replace(hits[n], score=float(relevance[n])) for n in np.argsort(-scores, kind="stable")]


def hit_text(hit: SearchHit) -> str:
    """What a cross-encoder reads of a document: its title and the passage that was found, as the service has it."""
    return passage_text(hit.title if hit.title != hit.document_id else "", hit.text)
