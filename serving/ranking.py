"""Texts put in the order in which they answer a question."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data.errors import EncoderUnavailable, TextRefused
from retrieval.blend import Blend
from retrieval.cross_encoder import CrossEncoderModel
from retrieval.pairs import Pair, Scored
from serving.admission import Admission
from serving.batcher import Batcher
from serving.embedding import EmbeddingLimits, TextEncoder, check_texts, estimated_tokens, first_tokens
from serving.errors import ApiError


@dataclass(frozen=True)
class Ranked:
    """One text.

    Attributes:
        place: in the request.
        score: the ranker's own, with what a first stage said; only its order means anything.
        relevance: from 0 to 1.
        cut: whether the ranker read only its beginning.
    """

    place: int
    score: float
    relevance: float
    cut: bool


class Ranker(Protocol):
    """What scores texts for a question, in this process or another."""

    name: str

    @property
    def blend(self) -> Blend | None:
        """What makes scores and probabilities of its logits; None where its scores are cosines."""

    def work(self, query: str, texts: list[str], most: int | None) -> float:
        """About how many tokens it reads to score them."""

    async def score(self, query: str, texts: list[str], most: int | None) -> list[Scored]:
        """Of each text its score, whether it was cut and the tokens read.

        Args:
            query: the question; never cut for a text's sake.
            texts: to be scored.
            most: tokens that are read of a text.
        """


class CrossEncoderRanker:
    """A cross-encoder; what several requests ask is scored together.

    Args:
        model: that scores.
        batch_tokens: largest padded area of a batch.
        max_age_s: after which a request that was not served is next.
        timeout_s: after which it fails.
    """

    def __init__(self, model: CrossEncoderModel, batch_tokens: int, max_age_s: float, timeout_s: float) -> None:
        self.name, self.blend, self.longest = model.name, model.blend, (longest := model.longest)
        self._model: CrossEncoderModel | None = model
        self._batcher = Batcher[Pair, Scored](
            self._score,
            max_items=64,
            length=lambda pair: estimated_tokens(pair[0]) + estimated_tokens(pair[1], pair[2] or longest),
            max_tokens=batch_tokens,
            max_age_s=max_age_s,
            timeout_s=timeout_s,
            text_of=lambda pair: pair[0],
        )

    @property
    def batches(self) -> float:
        """Full batches of work that wait or are worked on."""
        return self._batcher.batches

    @property
    def longest_s(self) -> float:
        """How long its batch has been worked on, in seconds; 0 where none is."""
        return self._batcher.longest_s

    def close(self) -> None:
        """Give the model back; nobody asks any more."""
        self._batcher.close()
        self._model = None

    def work(self, query: str, texts: list[str], most: int | None) -> float:
        """As of ``Ranker``: the question is read with each text."""
        return work_of_pairs(query, texts, most, self.longest)

    async def score(self, query: str, texts: list[str], most: int | None) -> list[Scored]:
        """As of ``Ranker``: logits."""
        return await self._batcher.many([(query, text, most) for text in texts])

    def _score(self, pairs: list[Pair]) -> list[Scored]:
        assert self._model is not None, "it is not closed"
        return self._model.score(pairs)


def work_of_pairs(query: str, texts: list[str], most: int | None, longest: int) -> float:
    """About how many tokens a cross-encoder that reads ``longest`` of a pair reads."""
    return sum(estimated_tokens(query + text, min(most or longest, longest)) for text in texts)


class EncoderRanker:
    """The encoder of the index: cosines of question and texts. For where there is no cross-encoder.

    Args:
        name: of the encoder.
        encoder: of questions and texts.
        longest: tokens that it reads of a text.
    """

    blend = None

    def __init__(self, name: str, encoder: TextEncoder, longest: int) -> None:
        self.name, self._encoder, self._longest = name, encoder, longest

    def work(self, query: str, texts: list[str], most: int | None) -> float:
        """As of ``Ranker``: each is read once."""
        longest = min(most or self._longest, self._longest)
        return estimated_tokens(query, self._longest) + sum(estimated_tokens(text, longest) for text in texts)

    async def score(self, query: str, texts: list[str], most: int | None) -> list[Scored]:
        """As of ``Ranker``: cosines. Tokens beyond ``most`` are cut by the bytes that a token has on average."""
        shortened = [text if most is None else first_tokens(text, most) for text in texts]
        question = await self._encoder.embed([query], "query")
        if question.dropped.any():
            raise TextRefused(
                f"the question has {int(question.dropped[0] + question.tokens[0])} tokens; the ranker reads "
                f"{int(question.tokens[0])}",
                "Shorten it.",
                query,
            )
        documents = await self._encoder.embed(shortened, "document")
        cosines = documents.vectors @ question.vectors[0]
        dropped = documents.dropped if len(documents.dropped) else np.zeros(len(texts), np.int32)
        cut = [len(short) < len(text) or lost > 0 for short, text, lost in zip(shortened, texts, dropped, strict=True)]
        shared = int(question.tokens[0])  # counted with the first: it was read once
        read = [int(tokens) + (shared if place == 0 else 0) for place, tokens in enumerate(documents.tokens)]
        return [(float(c), was, n) for c, was, n in zip(cosines, cut, read, strict=True)]


class RankingService:
    """Puts texts in order.

    Args:
        ranker: that scores.
        limits: of a request.
        admission: of tokens.
    """

    def __init__(self, ranker: Ranker, limits: EmbeddingLimits, admission: Admission) -> None:
        self.ranker, self.limits, self._admission = ranker, limits, admission

    def use(self, other: "RankingService") -> None:
        """Rank as another service does from now on."""
        self.ranker, self.limits, self._admission = other.ranker, other.limits, other._admission

    @property
    def refusal(self) -> ApiError | None:
        """As of ``Admission``."""
        return self._admission.refusal

    async def rank(
        self, query: str, texts: list[str], most: int | None, param: str, found: bool = False
    ) -> tuple[list[Ranked], int]:
        """Texts, best first, equal ones in the order of the request; and the tokens that were read.

        Args:
            query: the question.
            texts: to be put in order.
            most: tokens that are read of a text; as many as the ranker can where None.
            param: name of the texts in the request, for messages.
            found: whether search has found the texts, and in this order, which counts where the ranker was trained so.

        Raises:
            ApiError: if there are too many texts, one is too long, blank or refused, too much waits already, or the
                ranker is unavailable.
        """
        check_texts(texts, self.limits, param)
        try:
            with self._admission.admitted(self.ranker.work(query, texts, most)):
                scored = await self.ranker.score(query, texts, most)
        except TextRefused as error:
            about = "query" if error.text == query else param
            raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", about, "text_refused") from None
        except (EncoderUnavailable, TimeoutError) as error:
            message = error.problem if isinstance(error, EncoderUnavailable) else "the ranker did not answer in time"
            raise ApiError("unavailable", message, headers={"Retry-After": "2"}) from None
        scores = np.array([score for score, _, _ in scored], np.float64)
        blend = self.ranker.blend
        if blend is not None:
            scores = blend.scores(scores, found)
        relevance = np.clip(scores, 0, 1) if blend is None else blend.relevance(scores, found)
        ranked = [
            Ranked(place, float(scores[place]), float(relevance[place]), cut)
            for place, (_, cut, _) in enumerate(scored)
        ]
        ranked.sort(key=lambda one: -one.score)
        return ranked, sum(tokens for _, _, tokens in scored)
