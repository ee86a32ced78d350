"""Search as a page of Python has it: bm25s, a matrix product, and reciprocal rank fusion of the two."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from data.vectors.quantise import Floats

DEPTH = 100
RRF_K = 60

Lists = list[list[str]]
"""Ids of documents, best first, of each query."""


def by_words(ids: Sequence[str], texts: Sequence[str], queries: Sequence[str], whitespace: bool = False) -> Lists:
    """The best of BM25 (k1 1.2, b 0.75) as bm25s has it.

    Args:
        ids: of the documents.
        texts: theirs.
        queries: what is asked.
        whitespace: whether a word is what stands between spaces, rather than bm25s's own words without its English
            stop-words.
    """
    import bm25s

    def words(some: Sequence[str]) -> "bm25s.tokenization.Tokenized":
        if whitespace:
            return bm25s.tokenize(list(some), token_pattern=r"\S+", stopwords=None, show_progress=False)
        return bm25s.tokenize(list(some), stopwords="en", show_progress=False)

    ranker = bm25s.BM25(k1=1.2, b=0.75)
    ranker.index(words(texts), show_progress=False)
    rows, _ = ranker.retrieve(words(queries), k=min(DEPTH, len(ids)), show_progress=False)
    return [[ids[row] for row in of_query] for of_query in rows.tolist()]


def by_vectors(ids: Sequence[str], vectors: Floats, asked: Floats) -> Lists:
    """The nearest vectors, by a matrix product and a sort.

    Args:
        ids: of the documents.
        vectors: theirs, float32 (n, dim).
        asked: of the queries, float32 (Q, dim).
    """
    lists = []
    for question in asked:
        rows = np.argsort(-(vectors @ question), kind="stable")[:DEPTH]
        lists.append([ids[row] for row in rows.tolist()])
    return lists


def fused(one: Lists, other: Lists) -> Lists:
    """Reciprocal rank fusion of two lists of each query: the sum of 1 / (60 + rank), equal sums by id.

    Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
    SIGIR 2009.
    """
    lists = []
    for both in zip(one, other, strict=True):
        scores: dict[str, float] = defaultdict(float)
        for ranked in both:
            for rank, id_ in enumerate(ranked, start=1):
                scores[id_] += 1 / (RRF_K + rank)
        lists.append(sorted(scores, key=lambda id_: (-scores[id_], id_))[:DEPTH])
    return lists
