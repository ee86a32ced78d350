"""Why a document was found: its place in each list and step, and the words it shares with the question.

Lists are fused here, so that what is explained is the answer itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from data.lexical import Tokenizer
from data.passages.text import passage_text
from data.words import words
from retrieval.fused import Found
from retrieval.index import Hit, IndexQuery
from retrieval.search import Retriever, SearchHit, SearchQuery
from retrieval.trail import Place

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Explained:
    """A document that was found, and why.

    Attributes:
        hit: the document, by its best passage. The contributions of the lists in its trail add up to its score, but in
            mode late, where that is the score of the tokens.
        words: words of the question that the passage has, by their stems.
    """

    hit: SearchHit
    words: tuple[str, ...]

    @property
    def lists(self) -> tuple[Place, ...]:
        """Its places in lists."""
        return tuple(place for place in self.hit.trail if place.weight is not None)


def explain(
    retriever: Retriever, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None = None
) -> list[Explained]:
    """The best documents of a query, best first, each with its reasons.

    Args:
        retriever: that is asked.
        query: what is asked.
        vector: as of ``Retriever.answer``.
        tokens: as of ``Retriever.answer``.

    Raises:
        InputError: as ``Retriever.answer``.
    """
    best: dict[str, Hit] = {}

    def ask(queries: Sequence[IndexQuery]) -> list[Found]:
        found = retriever.index.found(queries)
        best.clear()
        for hit in found[0].hits:
            best.setdefault(hit.payload["document_id"], hit)
        return found

    (answers,) = retriever.answer([replace(query, traced=True)], [vector], [tokens], ask=ask)
    tokenizer, language = retriever.meta.config.tokenizer(), retriever.meta.config.language
    said = words(query.text, turkish=language == "turkish")
    return [Explained(one, _matched(tokenizer, said, best.get(one.document_id))) for one in answers]


def _matched(tokenizer: Tokenizer, said: Sequence[str], hit: Hit | None) -> tuple[str, ...]:
    return () if hit is None else matched_words(tokenizer, said, hit.payload)


def reasons(hit: SearchHit, words: Sequence[str]) -> dict[str, Any]:
    """Why a document was found, as JSON values: its places in lists and in steps, and the words that it has."""
    lists = [
        {"list": one.step, **{key: getattr(one, key) for key in ("rank", "score", "weight", "contribution")}}
        for one in hit.trail
        if one.weight is not None
    ]
    steps = [{"step": one.step, "rank": one.rank, "score": one.score} for one in hit.trail if one.weight is None]
    return {"lists": lists, "steps": steps, "matched_words": list(words)}


def matched_words(tokenizer: Tokenizer, question: Sequence[str], passage: Mapping[str, Any]) -> tuple[str, ...]:
    """Words of a question, each once and in order, whose terms are in a passage.

    Args:
        tokenizer: of the index.
        question: its words.
        passage: ``title`` and ``text``, as the index stores them.
    """
    has = set(tokenizer.numbers(passage_text(passage["title"], passage["text"])))
    return tuple(word for word in dict.fromkeys(question) if has & set(tokenizer.numbers(word)))
