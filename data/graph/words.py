"""Words of whole documents as unit vectors, so that two documents can be compared by the rare words they share."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from data.lexical import Tokenizer
from data.partitions import read_batches

MOST_COMMON = 0.1  # a term in more documents than this share of them says little and would cost the most


@dataclass(frozen=True)
class Vocabulary:
    """The terms of a corpus, by which a document that is not in it can be compared with those that are.

    Attributes:
        terms: int64 (T,), ascending numbers of the tokenizer.
        idf: float64 (T,), weight of each; 0 where it is in too many documents to count.
        language: as for ``data.lexical.Tokenizer``.
    """

    terms: np.ndarray
    idf: np.ndarray
    language: str

    def rows(self, texts: Iterable[str]) -> sp.csr_matrix:
        """TF-IDF vectors of texts by the corpus's terms: float32 CSR (n, T), rows of unit length or empty."""
        counted = _count(texts, self.language)
        place = np.searchsorted(self.terms, counted.numbers)
        known = place < len(self.terms)
        known[known] = self.terms[place[known]] == counted.numbers[known]
        row = np.repeat(np.arange(len(counted.lengths)), counted.lengths)[known]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(counted.lengths)))])
        return _weighted(counted.counts[known], place[known], indptr, self.idf)

    def weights(self, words: Iterable[str]) -> dict[str, float]:
        """How telling each word is: the largest idf of its terms, 0 where the corpus does not have it."""
        tokenizer = Tokenizer(self.language)
        found = {}
        for word in words:
            numbers = np.array(list(tokenizer.numbers(word)), np.int64)
            known = numbers[np.isin(numbers, self.terms)]
            found[word] = float(self.idf[np.searchsorted(self.terms, known)].max(initial=0.0))
        return found

    def save(self, path: Path) -> None:
        """Write it as ``.npz``."""
        np.savez(path, terms=self.terms, idf=self.idf, language=np.array(self.language))

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what ``save`` wrote."""
        with np.load(path) as file:
            return cls(file["terms"], file["idf"], str(file["language"]))


@dataclass(frozen=True)
class _Counted:
    """Terms of texts: their numbers and how often they occur, int64 and float32 (m,); int64 (n,) how many each has."""

    numbers: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray


def tfidf(documents: Path, language: str) -> tuple[sp.csr_matrix, Vocabulary]:
    """TF-IDF vectors of a documents table, title and text together.

    Weights are (1 + ln tf) · (1 + ln((1 + n) / (1 + df))), scaled to unit length (Salton and Buckley, Information
    Processing & Management 24, 1988); terms in more than ``MOST_COMMON`` of the documents are left out, which keeps the
    product of a row with the whole matrix far from quadratic.

    Args:
        documents: folder of the documents table.
        language: as for ``data.lexical.Tokenizer``.

    Returns:
        float32 CSR (n, terms), rows of unit length or empty, in the table's order; and what the columns are.
    """
    counted = _count(_texts(documents), language)
    terms, columns = np.unique(counted.numbers, return_inverse=True)
    documents_of = np.bincount(columns, minlength=len(terms))
    total = len(counted.lengths)
    idf = 1 + np.log((1 + total) / (1 + documents_of))
    idf[documents_of > max(2, MOST_COMMON * total)] = 0
    indptr = np.concatenate([[0], np.cumsum(counted.lengths)]).astype(np.int64)
    return _weighted(counted.counts, columns, indptr, idf), Vocabulary(terms, idf, language)


def _texts(documents: Path) -> Iterable[str]:
    for batch in read_batches(documents, columns=["title", "text"]):
        for title, text in zip(batch["title"].to_pylist(), batch["text"].to_pylist(), strict=True):
            yield f"{title}\n{text}"


def _count(texts: Iterable[str], language: str) -> _Counted:
    tokenizer = Tokenizer(language)
    numbers, counts, lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)], []
    for text in texts:
        found = Counter(tokenizer.numbers(text))
        numbers.append(np.fromiter(found.keys(), np.int64, len(found)))
        counts.append(np.fromiter(found.values(), np.float32, len(found)))
        lengths.append(len(found))
    return _Counted(np.concatenate(numbers), np.concatenate(counts), np.array(lengths, np.int64))


def _weighted(counts: np.ndarray, columns: np.ndarray, indptr: np.ndarray, idf: np.ndarray) -> sp.csr_matrix:
    weights = (1 + np.log(counts)) * idf[columns]
    matrix = sp.csr_matrix((weights.astype(np.float32), columns, indptr), shape=(len(indptr) - 1, len(idf)))
    matrix.eliminate_zeros()
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = sp.diags_array((1 / np.maximum(norms, 1e-12)).astype(np.float32))
    unit: sp.csr_matrix = sp.csr_matrix(scale @ matrix, dtype=np.float32)
    return unit
