"""Why a document was found: its place in each list and step, and the words it shares with the question.

Lists are fused here, so that what is explained is the answer itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from data.words import words
from retrieval.boosted import Effect
from retrieval.fused import Found
from retrieval.hits import SearchHit
from retrieval.index import Hit, IndexQuery, Key, point_id
from retrieval.matched import MatchedWord, matched_words
from retrieval.query import SearchQuery
from retrieval.search import Retriever
from retrieval.trail import Place

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Explained:
    """A document that was found, and why.

    Attributes:
        hit: the document, by its best passage. The contributions of the lists in its trail add up to its score, but in
            mode late, where that is the score of the tokens.
        words: of the question that the passage has, with what each adds to its BM25 score, in any mode.
        effects: of its features on the score that boosted trees gave it, the strongest first.
    """

    hit: SearchHit
    words: tuple[MatchedWord, ...]
    effects: tuple[Effect, ...] = ()

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
    shown: dict[str, tuple[Key, Mapping[str, Any]]] = {}
    for one in answers:
        hit = best.get(one.document_id)  # links bring in others, by the passage that is shown
        shown[one.document_id] = (point_id(one.passage_id), vars(one)) if hit is None else (hit.key, hit.payload)
    shared = matched_words(retriever.index.query_batch, tokenizer, said, dict(shown.values()))
    return [Explained(one, shared[shown[one.document_id][0]]) for one in answers]


def reasons(hit: SearchHit, words: Sequence[MatchedWord], effects: Sequence[Effect] = ()) -> dict[str, Any]:
    """Why a document was found, as JSON values: its places in lists and steps, its words, and effects of features."""
    lists = [
        {"list": one.step, **{key: getattr(one, key) for key in ("rank", "score", "weight", "contribution")}}
        for one in hit.trail
        if one.weight is not None
    ]
    steps = [{"step": one.step, "rank": one.rank, "score": one.score} for one in hit.trail if one.weight is None]
    words_, features = [asdict(word) for word in words], [asdict(effect) for effect in effects]
    return {"lists": lists, "steps": steps, "matched_words": words_, "features": features}
