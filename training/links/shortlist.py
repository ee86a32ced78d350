"""A source's shortlist: the documents that any of several ways of looking puts first.

The scorer of pairs looks at these alone; the rest follow in the order of the states' cosines. Costs: a matrix product
for the dense ways, a sparse product of rows for the others.

Shapes: S sources, N documents, K documents from each way of looking.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from data.graph.graph import Graph
from data.matrices import best_of_dense, best_of_rows, distinct
from evaluation.baselines import LocalPush
from training.links.paths import WALK_TOLERANCE

Nodes = np.ndarray
SCORES_AT_ONCE = 2**25  # cosines in memory at once: 128 MiB
WORDS_AT_ONCE = 64  # sources whose shared words with all documents are counted at once


def dense_best(scores: np.ndarray, count: int) -> Iterator[tuple[Nodes, Nodes]]:
    """Row and column of the best ``count`` of each row of float32 (S, N)."""
    best = best_of_dense(scores, min(count, scores.shape[1]))
    yield np.repeat(np.arange(len(scores)), best.shape[1]), best.ravel()


class Shortlists:
    """Makes the shortlists of one graph's documents.

    Args:
        graph: of the links that may be seen.
        vectors: float32 (N, dim) text vectors; dim may be 0.
        words: float32 (N, terms), or None.
        states: float32 (N, W), or None.
        count: K.
    """

    def __init__(
        self, graph: Graph, vectors: np.ndarray, words: sp.csr_matrix | None, states: np.ndarray | None, count: int
    ) -> None:
        self.graph, self.count, self._words = graph, count, words
        self._walks = LocalPush(graph, tolerance=WALK_TOLERANCE)
        self._dense = [matrix for matrix in (states, vectors) if matrix is not None and matrix.shape[1]]
        self._postings = words.T.tocsr() if words is not None else None
        worth = np.where(graph.degrees > 0, 1 / np.maximum(graph.degrees, 1), 0).astype(np.float32)
        near = np.repeat(worth, graph.degrees)
        self._passed = sp.csr_matrix((near, graph.indices, graph.indptr), shape=graph.adjacency.shape)

    def of(self, sources: Nodes) -> tuple[Nodes, Nodes]:
        """The shortlists, without the source and its neighbours.

        Returns:
            Places in ``sources`` and documents, int64 (L,) each, each pair once, ascending.
        """
        passed = sp.csr_array(self.graph.adjacency[sources] @ self._passed)
        found = [best_of_rows(near, self.count)[:2] for near in (passed, self._walks.rows(sources))]
        found.extend(self._by_cosine(sources))
        found.extend(self._by_words(sources))
        n = self.graph.num_nodes
        codes = distinct(np.concatenate([row.astype(np.int64) * n + column for row, column in found]))
        row, column = codes // n, codes % n
        known = self.graph.adjacency[sources]
        linked = np.repeat(np.arange(len(sources)), np.diff(known.indptr)) * n + known.indices
        free = ~np.isin(codes, linked, assume_unique=True) & (column != sources[row])
        return row[free], column[free]

    def _by_cosine(self, sources: Nodes) -> Iterator[tuple[Nodes, Nodes]]:
        together = max(1, SCORES_AT_ONCE // self.graph.num_nodes)
        for matrix in self._dense:
            for start in range(0, len(sources), together):
                for row, column in dense_best(matrix[sources[start : start + together]] @ matrix.T, self.count):
                    yield row + start, column

    def _by_words(self, sources: Nodes) -> Iterator[tuple[Nodes, Nodes]]:
        if self._words is None or self._postings is None:
            return
        for start in range(0, len(sources), WORDS_AT_ONCE):
            shared = self._words[sources[start : start + WORDS_AT_ONCE]] @ self._postings
            row, column, _ = best_of_rows(sp.csr_array(shared), self.count)
            yield row + start, column
