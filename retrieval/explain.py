"""Why a document was found: its place in each list, what each list gave, and the words it shares with the question.

Lists are fused here, so that what is explained is the answer itself.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt

from data.words import words
from retrieval.config import ListName
from retrieval.fused import Found
from retrieval.fusion import Fusion, given
from retrieval.index import Hit, IndexQuery
from retrieval.matched import MatchedWord, matched_words
from retrieval.search import Retriever, SearchHit, SearchQuery

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ListPlace:
    """Where a list has a passage.

    Attributes:
        list: which one.
        rank: from 1.
        score: cosine, or BM25.
        weight: of the list in the fusion.
        contribution: to the fused score (``retrieval.fusion``); where one list alone is asked, the score itself.
    """

    list: ListName
    rank: int
    score: float
    weight: float
    contribution: float


@dataclass(frozen=True)
class Explained:
    """A document that was found, and why.

    Attributes:
        hit: the document, by its best passage.
        lists: the places of that passage; their contributions add up to the hit's score, but in mode late, where that
            is the score of the tokens.
        words: of the question that the passage has, with what each adds to its BM25 score, in any mode.
    """

    hit: SearchHit
    lists: tuple[ListPlace, ...]
    words: tuple[MatchedWord, ...]


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
    asked: list[tuple[IndexQuery, Found]] = []

    def ask(queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        asked[:] = zip(queries, retriever.index.found(queries), strict=True)
        return [found.hits for _, found in asked]

    (answers,) = retriever.answer([query], [vector], [tokens], ask=ask)
    if not asked:
        return []
    (question, found), language = asked[0], retriever.meta.config.language
    places = _places(question, found, retriever.index.fusion)
    best: dict[str, Hit] = {}
    for hit in found.hits:
        best.setdefault(hit.payload["document_id"], hit)
    tokenizer, said = retriever.meta.config.tokenizer(), words(query.text, turkish=language == "turkish")
    shown = [best[one.document_id] for one in answers]
    shared = matched_words(retriever.index.query_batch, tokenizer, said, {hit.key: hit.payload for hit in shown})
    return [
        Explained(one, tuple(places.get(hit.key, ())), shared[hit.key])
        for one, hit in zip(answers, shown, strict=True)
    ]


def _places(query: IndexQuery, found: Found, fusion: Fusion) -> dict[UUID, list[ListPlace]]:
    """Where the lists of a question have each passage."""
    places: dict[UUID, list[ListPlace]] = defaultdict(list)
    if not query.fused:
        name: ListName = "dense" if query.dense is not None else "bm25"
        for rank, hit in enumerate(found.hits, 1):
            places[hit.key].append(ListPlace(name, rank, hit.score, 1.0, hit.score))
    for name, hits in found.lists.items():
        weight, gives = fusion.weights.get(name, 0.0), given(name, hits, fusion, query.prefetch).tolist()
        for rank, (hit, gave) in enumerate(zip(hits, gives, strict=True), 1):
            places[hit.key].append(ListPlace(name, rank, hit.score, weight, gave))
    return places
