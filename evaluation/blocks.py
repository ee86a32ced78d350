"""Scores of a few sources with all documents, dense or sparse, and what is asked of them.

Both kinds answer alike, to the last bit: a sparse block is the dense one with the entries that are exactly 0 left out.

Shapes: S sources of the block, N documents, P pairs and Q queries, each in a row of the block.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Nodes = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class Block(Protocol):
    """Scores of S sources with N documents."""

    def at(self, rows: Nodes, columns: Nodes) -> Scores:
        """Scores of single pairs: int64 (P,) twice in, float32 (P,) out."""
        ...

    def rivals(self, rows: Nodes, wanted: Scores) -> tuple[Nodes, Nodes]:
        """How many of all N scores in each query's row are above ``wanted``, and how many equal it: int64 (Q,) each."""
        ...


@dataclass(frozen=True)
class DenseBlock:
    """Scores as they are: float32 (S, N)."""

    scores: Scores

    def at(self, rows: Nodes, columns: Nodes) -> Scores:
        """As of ``Block``."""
        return self.scores[rows, columns]

    def rivals(self, rows: Nodes, wanted: Scores) -> tuple[Nodes, Nodes]:
        """As of ``Block``: row by row, which takes a third of the time of a comparison of the whole block."""
        above, level = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        truth = np.empty(self.scores.shape[1], np.bool_)
        for query, (row, score) in enumerate(zip(rows.tolist(), wanted, strict=True)):
            above[query] = np.count_nonzero(np.greater(self.scores[row], score, out=truth))
            level[query] = np.count_nonzero(np.equal(self.scores[row], score, out=truth))
        return above, level


class SparseBlock:
    """Scores of which most are 0 and not stored.

    Args:
        scores: CSR (S, N); entries that occur twice are added up.
    """

    def __init__(self, scores: sp.csr_array) -> None:
        self.scores = scores
        self.scores.sum_duplicates()
        self._width = scores.shape[1]
        row = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
        self._codes = row * self._width + scores.indices  # ascending

    def at(self, rows: Nodes, columns: Nodes) -> Scores:
        """As of ``Block``."""
        if len(self._codes) == 0:
            return np.zeros(len(rows), np.float32)
        codes = rows * self._width + columns
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[place] == codes, self.scores.data[place], 0).astype(np.float32)

    def rivals(self, rows: Nodes, wanted: Scores) -> tuple[Nodes, Nodes]:
        """As of ``Block``: counts the stored scores, and the others by their number."""
        above, level = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        first, last = self.scores.indptr[rows].tolist(), self.scores.indptr[rows + 1].tolist()
        for query, score in enumerate(wanted):
            stored = self.scores.data[first[query] : last[query]]
            above[query] = np.count_nonzero(stored > score)
            level[query] = np.count_nonzero(stored == score)
        missing = self._width - np.diff(self.scores.indptr)[rows]
        return above + missing * (wanted < 0), level + missing * (wanted == 0)


def block_of(scores: Scores | sp.csr_array, sources: int, num_nodes: int) -> DenseBlock | SparseBlock:
    """What a scorer returned, as a block.

    Args:
        scores: float32 array (S, N), or a sparse matrix of that shape.
        sources: S that was asked for.
        num_nodes: N.

    Raises:
        ValueError: if the shape is another, or a score is not a number.
    """
    stored = scores if isinstance(scores, np.ndarray) else scores.data
    # The minimum is NaN where any score is, and takes no memory.
    if scores.shape != (sources, num_nodes) or bool(np.isnan(np.min(stored, initial=0))):
        raise ValueError(f"the scorer must return ({sources}, {num_nodes}) numbers, got {scores.shape} or NaN")
    return DenseBlock(scores) if isinstance(scores, np.ndarray) else SparseBlock(sp.csr_array(scores))


def ragged(indptr: Nodes, rows: Nodes) -> tuple[Nodes, Nodes]:
    """The entries of some rows of a compressed matrix, row after row.

    Args:
        indptr: int64 (S + 1,) where each row begins.
        rows: int64 (Q,) rows wanted, any of them several times.

    Returns:
        For each entry the place of its row in ``rows``, and its own place in the matrix: int64 (E,) each.
    """
    lengths = indptr[rows + 1] - indptr[rows]
    query = np.repeat(np.arange(len(rows)), lengths)
    ends = np.cumsum(lengths)
    return query, np.arange(len(query)) + np.repeat(indptr[rows] - (ends - lengths), lengths)
