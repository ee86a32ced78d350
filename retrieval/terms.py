"""What the terms of an index weigh: BM25, whose inverse document frequency is made of how many passages hold each.

The engine keeps these numbers for itself; the file ``terms.npy`` beside an index has them for a part that is added to
it, whose words must weigh what they weigh in the index.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.files import whole_or_absent
from data.lexical import BM25
from retrieval.index import IndexedPassage, IndexMeta

TERMS = "terms.npy"

_GATHERED = 2**22  # occurrences, 16 MB, that are kept before they are counted


def bm25_of(meta: IndexMeta) -> BM25:
    """Weights of terms as the index has them, but for the inverse document frequency, which it multiplies in itself."""
    return BM25(meta.config.tokenizer(), meta.mean_length, meta.config.k1, meta.config.b)


class TermCounts:
    """Counts passages by term while they go by; memory grows with the terms, 12 bytes for each."""

    def __init__(self) -> None:
        self._terms, self._counts = np.empty(0, np.uint32), np.empty(0, np.int64)
        self._gathered: list[npt.NDArray[np.uint32]] = []
        self._waiting = self._passages = 0

    def of(self, passages: Iterable[IndexedPassage]) -> Iterator[IndexedPassage]:
        """The same passages, counted."""
        for passage in passages:
            self._passages += len(passage.sparse.indices) > 0
            self._gathered.append(passage.sparse.indices)
            self._waiting += len(passage.sparse.indices)
            if self._waiting >= _GATHERED:
                self._count()
            yield passage

    def write(self, folder: Path) -> None:
        """Write ``terms.npy``: uint32 (2, 1 + terms).

        First 0 and how many passages hold any term, then the terms, ascending, and how many passages hold each.
        """
        self._count()
        counted = np.stack([self._terms, self._counts.astype(np.uint32)])
        with whole_or_absent(folder / TERMS) as unfinished, unfinished.open("wb") as file:
            np.save(file, np.concatenate([np.array([[0], [self._passages]], np.uint32), counted], axis=1))

    def _count(self) -> None:
        terms, counts = np.unique(np.concatenate([self._terms[:0], *self._gathered]), return_counts=True)
        both, places = np.unique(np.concatenate([self._terms, terms]), return_inverse=True)
        added = np.bincount(places, np.concatenate([self._counts, counts]), len(both))
        self._terms, self._counts = both, added.astype(np.int64)
        self._gathered, self._waiting = [], 0


class TermStatistics:
    """Inverse document frequencies of an index, as its engine computes them.

    Args:
        artifact: the index stage's folder; its file is memory-mapped.

    Raises:
        InputError: if the file is gone.
    """

    def __init__(self, artifact: Path) -> None:
        if not (artifact / TERMS).is_file():
            raise InputError(f"the index in {artifact} has lost its file {TERMS}", f"Delete {artifact} and run again.")
        counted = np.load(artifact / TERMS, mmap_mode="r")
        self._terms, self._counts = counted[0, 1:], counted[1, 1:]
        self._passages = int(counted[1, 0])  # the engine counts none without a word

    def idf(self, terms: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
        """Inverse document frequency of some terms, float32 of their shape: ln(1 + (N - n + 0.5) / (n + 0.5)).

        N is the number of passages that hold any term, n that of those that hold this one.

        Args:
            terms: numbers of ``data.lexical``; one that no passage holds counts as the rarest.
        """
        held = np.zeros(len(terms))
        if len(self._terms):
            places = np.minimum(np.searchsorted(self._terms, terms), len(self._terms) - 1)
            held = np.where(self._terms[places] == terms, self._counts[places], 0).astype(np.float64)
        return np.log1p((self._passages - held + 0.5) / (held + 0.5)).astype(np.float32)
