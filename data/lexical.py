"""BM25 as sparse vectors: words to terms, terms to weights; the index multiplies in the IDF.

Okapi BM25 (Robertson and Zaragoza, 2009) splits into a part that depends on one passage and a part that depends on the
whole collection. The first is computed here and stored; the second, the inverse document frequency, is kept current by
the index (Qdrant's ``Modifier.IDF``), so that a passage can be added without touching the others.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from data.errors import nearest
from data.hebrew import hebrew_term
from data.stop_words import ENGLISH
from data.words import words

HEBREW = "hebrew"

_TERMS_REMEMBERED = 2**18


def known_language(language: str, *, also: tuple[str, ...] = ()) -> str:
    """The language, if there are terms for it, it is ``none`` or in ``also``; else ValueError with the nearest."""
    import Stemmer

    known = [*also, "none", HEBREW, *Stemmer.algorithms()]
    if language not in known:
        raise ValueError(f"unknown language; {nearest(language, known)}")
    return language


Language = Annotated[str, AfterValidator(known_language)]


class SparseVector(NamedTuple):
    """Term numbers, ascending and distinct, and their weights."""

    indices: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32]


class Tokenizer:
    """Text to terms, the same on both sides of the search.

    Words are those of ``data.words``; stop-words are dropped and Snowball stems taken, or the terms of ``data.hebrew``.
    Words in a script that the stemmer does not know pass through it unchanged.

    Args:
        language: ``hebrew``, a Snowball algorithm (``english``, ``german``, …), or ``none`` for whole words.
        stop_words: words that give no term, as ``data.words`` writes them; None leaves out those of English in English,
            and none in any other language.
        particles: of Hebrew: whether a word loses those that are written together with it.
    """

    def __init__(self, language: str, stop_words: Collection[str] | None = None, particles: bool = True) -> None:
        if stop_words is None:
            stop_words = ENGLISH if language == "english" else ()
        self._stop_words = frozenset(stop_words)
        self._stem = _stemmer(language, particles)
        self._turkish = language == "turkish"
        self._number = lru_cache(_TERMS_REMEMBERED)(self._look_up)

    def terms(self, text: str) -> list[str]:
        """The terms of a text, repeated as they repeat."""
        found = (self._term(word) for word in words(text, self._turkish))
        return [term for term in found if term is not None]

    def numbers(self, text: str) -> list[int]:
        """The terms of a text as 32-bit numbers, repeated as they repeat."""
        found = map(self._number, words(text, self._turkish))
        return [number for number in found if number is not None]

    def _term(self, word: str) -> str | None:
        if word in self._stop_words:
            return None
        return self._stem(word)

    def _look_up(self, word: str) -> int | None:
        term = self._term(word)
        return None if term is None else term_number(term)


def _stemmer(language: str, particles: bool) -> Callable[[str], str]:
    """What makes a term of a word."""
    if language == "none":
        return str
    if language == HEBREW:
        return partial(hebrew_term, particles=particles)
    import Stemmer

    stem: Callable[[str], str] = Stemmer.Stemmer(language).stemWord
    return stem


def term_number(term: str) -> int:
    """Stable 32-bit number of a term. Of a million terms, about 230 share theirs with another."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "little")


def mean_length(texts: Iterable[str], tokenizer: Tokenizer) -> float:
    """Mean number of terms of the texts, at least 1."""
    total, count = 0, 0
    for text in texts:
        total += len(tokenizer.numbers(text))
        count += 1
    return max(total / max(count, 1), 1.0)


@dataclass(frozen=True)
class BM25:
    """The passage's and the query's part of Okapi BM25.

    A passage of length ``l`` in which a term occurs ``f`` times gets
    ``f (k1 + 1) / (f + k1 (1 - b + b l / mean_length))`` for it; a query gets as often as it names the term.
    Their inner product, with each term multiplied by its inverse document frequency on the index's side, is the score.

    Args:
        tokenizer: the same for passages and queries.
        mean_length: mean number of terms of the collection's passages.
        k1: how soon more occurrences stop counting.
        b: how much the length of a passage lowers its weights, 0 to 1.
    """

    tokenizer: Tokenizer
    mean_length: float
    k1: float = 1.2
    b: float = 0.75

    def passage(self, text: str) -> SparseVector:
        """Weights of a passage's terms."""
        counts = Counter(self.tokenizer.numbers(text))
        norm = self.k1 * (1 - self.b + self.b * counts.total() / self.mean_length)
        return _sparse({number: f * (self.k1 + 1) / (f + norm) for number, f in counts.items()})

    def query(self, text: str) -> SparseVector:
        """How often a query names each of its terms; empty where it has no words."""
        return _sparse(Counter(self.tokenizer.numbers(text)))


def _sparse(weights: Mapping[int, float]) -> SparseVector:
    indices = np.fromiter(weights, dtype=np.uint32, count=len(weights))
    values = np.fromiter(weights.values(), dtype=np.float32, count=len(weights))
    order = np.argsort(indices)
    return SparseVector(indices[order], values[order])
