"""The words that a question shares with passages, and how much each adds to their BM25 scores.

The index is asked for one term at a time among these passages, so that the weights are those it scores by: its own
inverse document frequencies, its live part's, or a server's. P passages, T terms of the question that any of them has.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.lexical import SparseVector, Tokenizer
from data.passages.text import passage_text
from retrieval.index import Hit, IndexQuery, Key


@dataclass(frozen=True)
class MatchedWord:
    """A word of a question that a passage has, by its stem.

    Attributes:
        word: as it was asked, case-folded.
        weight: what it adds to the passage's BM25 score. Words of one stem share what the stem adds, by how often each
            was asked.
    """

    word: str
    weight: float


def matched_words(
    ask: Callable[[Sequence[IndexQuery]], list[list[Hit]]],
    tokenizer: Tokenizer,
    question: Sequence[str],
    passages: Mapping[Key, Mapping[str, Any]],
) -> dict[Key, tuple[MatchedWord, ...]]:
    """Words of a question, each once and in order, that passages have; their weights add up to the BM25 score.

    Args:
        ask: the index's ``query_batch``; gets one batch of T queries.
        tokenizer: of the index.
        question: its words.
        passages: payloads of P passages by their keys, with ``title`` and ``text`` as the index stores them.
    """
    said = Counter(question)
    terms_of = {word: tokenizer.numbers(word) for word in said}
    times = Counter(term for word in question for term in terms_of[word])
    held = {term for of in passages.values() for term in tokenizer.numbers(passage_text(of["title"], of["text"]))}
    asked = [term for term in times if term in held]  # a title may be shown and not indexed: the index decides
    found = ask([_one_term(term, times[term], tuple(passages)) for term in asked]) if asked else []
    scores = {term: {hit.key: hit.score for hit in hits} for term, hits in zip(asked, found, strict=True)}
    matched: dict[Key, tuple[MatchedWord, ...]] = {}
    for key in passages:
        weights = {
            word: sum(scores.get(term, {}).get(key, 0.0) * said[word] / times[term] for term in terms)
            for word, terms in terms_of.items()
        }
        matched[key] = tuple(MatchedWord(word, weight) for word, weight in weights.items() if weight > 0)
    return matched


def _one_term(term: int, times: int, among: tuple[Key, ...]) -> IndexQuery:
    sparse = SparseVector(np.array([term], np.uint32), np.array([times], np.float32))
    return IndexQuery(len(among), sparse=sparse, among=among, payload="none")
