"""What search has found, scored by a cross-encoder; for many questions at once."""

import logging
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from data.encoders.config import BATCH_TOKENS
from data.passages.text import passage_text
from retrieval.blend import Blend
from retrieval.cross_encoder import CrossEncoderModel
from retrieval.hits import SearchHit
from retrieval.pairs import PairScorer

logger = logging.getLogger("catena")


class Reranker:
    """Reads each question with the documents that were found for it.

    Args:
        scorer: the cross-encoder.
        blend: what makes scores of its logits.
    """

    def __init__(self, scorer: PairScorer, blend: Blend) -> None:
        self._scorer, self._blend = scorer, blend
        self._told = False

    @classmethod
    def open(cls, model: str, key: str) -> Self:
        """A cross-encoder that has passed its self-test, with a batch on each core.

        Args:
            model: folder or name.
            key: of the run file that names it, for messages.

        Raises:
            InputError: if it cannot be opened, is no ranker, or gives no numbers.
        """
        import torch

        opened = CrossEncoderModel(model, BATCH_TOKENS, key, torch.get_num_threads())
        opened.check()
        return cls(opened, opened.blend)

    def score(
        self, questions: Sequence[str], found: Sequence[Sequence[SearchHit]]
    ) -> list[npt.NDArray[np.float64] | None]:
        """Probabilities of the documents of each question, in their order; None where it cannot read the question.

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
        read = [hits if fits else [] for fits, hits in zip(readable, found, strict=True)]
        pairs = [(text, hit_text(hit), None) for text, hits in zip(questions, read, strict=True) for hit in hits]
        logits = np.array([logit for logit, _, _ in self._scorer.score(pairs)])
        ends = np.cumsum([len(hits) for hits in read])
        return [
            self._relevance(logits[end - len(hits) : end]) if fits else None
            for hits, end, fits in zip(read, ends, readable, strict=True)
        ]

    def _relevance(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self._blend.relevance(self._blend.scores(logits, ranked=True), ranked=True)


def hit_text(hit: SearchHit) -> str:
    """What a cross-encoder reads of a document: its title and the passage that was found, as the service has it."""
    return passage_text(hit.title if hit.title != hit.document_id else "", hit.text)
