"""Why a document was found: its place in each list, what each list gave, and the words it shares with the question.

The lists are asked for apart and fused here, by the formula of the engines: what is explained is the answer itself, and
it is the one that the engine gives unasked.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.lexical import Tokenizer
from data.passages.text import passage_text
from data.words import words
from retrieval.index import FUSION_WEIGHTS, Hit, IndexQuery, VectorIndex
from retrieval.rescoring import by_place, fused
from retrieval.search import Retriever, SearchHit, SearchQuery

ListName = Literal["dense", "bm25"]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ListPlace:
    """Where a list has a passage.

    Attributes:
        list: which one.
        rank: from 1.
        score: cosine, or BM25.
        weight: of the list in the fusion.
        contribution: to the fused score: 1 / (k + rank / weight); where one list alone is asked, the score itself.
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
        lists: the places of that passage; their contributions add up to the hit's score. In mode late that is the score
            of the tokens, and none are told where smaller vectors found the passages.
        words: words of the question that the passage has, by their stems.
    """

    hit: SearchHit
    lists: tuple[ListPlace, ...]
    words: tuple[str, ...]


class _Apart:
    """Asks an index for the lists of a question one by one; keeps what they had.

    Args:
        index: that is asked.
        k: constant of the fusion.
        late_lists: whether those of a question by tokens are asked for too.
    """

    def __init__(self, index: VectorIndex, k: int, late_lists: bool) -> None:
        self._index, self._k, self._late_lists = index, k, late_lists
        self.hits: list[Hit] = []
        self.places: dict[str, list[ListPlace]] = {}

    def __call__(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """The hits of one question, as ``query_batch`` answers."""
        (query,) = queries
        asked = query.lists() if query.tokens is None or self._late_lists else []
        names: list[ListName] = [name for name, _ in asked if name != "late"]  # tokens order what these found
        whole = [] if query.tokens is None else [query]
        found = self._index.query_batch([*(_alone(query, name) for name in names), *whole])
        self.places = defaultdict(list)
        for name, hits in zip(names, found, strict=False):
            for rank, hit in enumerate(by_place(hits), 1):
                weight = FUSION_WEIGHTS[name] if query.fused else 1.0
                gives = 1 / (self._k + rank / weight) if query.fused else hit.score
                self.places[hit.passage_id].append(ListPlace(name, rank, hit.score, weight, gives))
        if whole:
            self.hits = found[-1]
        else:
            both = fused(dict(zip(names, found, strict=True)), self._k) if query.fused else found[0]
            self.hits = both[: query.limit]
        return [self.hits]


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
    meta = retriever.meta
    apart = _Apart(retriever.index, meta.config.rrf_k, late_lists=meta.full_dim is None)
    (found,) = retriever.answer([query], [vector], [tokens], ask=apart)
    best: dict[str, Hit] = {}
    for hit in apart.hits:
        best.setdefault(hit.payload["document_id"], hit)
    tokenizer, asked = meta.config.tokenizer(), words(query.text, turkish=meta.config.language == "turkish")
    return [
        Explained(
            one,
            tuple(apart.places.get(best[one.document_id].passage_id, ())),
            matched_words(tokenizer, asked, best[one.document_id].payload),
        )
        for one in found
    ]


def matched_words(tokenizer: Tokenizer, question: Sequence[str], passage: Mapping[str, Any]) -> tuple[str, ...]:
    """Words of a question, each once and in order, whose terms are in a passage.

    Args:
        tokenizer: of the index.
        question: its words.
        passage: ``title`` and ``text``, as the index stores them.
    """
    has = set(tokenizer.numbers(passage_text(passage["title"], passage["text"])))
    return tuple(word for word in dict.fromkeys(question) if has & set(tokenizer.numbers(word)))


def _alone(query: IndexQuery, name: ListName) -> IndexQuery:
    """The query for one of its lists, as deep as the fusion looks."""
    return replace(
        query,
        dense=query.dense if name == "dense" else None,
        sparse=query.sparse if name == "bm25" else None,
        tokens=None,
        fused=False,
        limit=query.prefetch if query.fused else query.limit,
    )
