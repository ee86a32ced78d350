"""Features of pairs of documents, from their neighbourhoods, texts and states: for the pairs wanted, never for a row.

Shapes: N documents, P pairs, C shared neighbours of all pairs together, W width of a state.
"""

import numpy as np
import scipy.sparse as sp

from data.graph.graph import Graph

STRUCTURE = (
    "common_neighbours",
    "adamic_adar",
    "resource_allocation",
    "three_paths",
    "cosine",
    "source_degree",
    "target_degree",
)
TEXTS = ("shared_words", "similar_paths")
STATES = ("state_cosine", "state_paths")
FEATURES = STRUCTURE + TEXTS + STATES

_PAIRS_AT_ONCE = 65_536
_ROWS_AT_ONCE = 2**24  # floats of the scratch rows that paths of three links are gathered in: 64 MiB


class PairFeatures:
    """Features of pairs of documents, counted on one graph.

    Common neighbours; Adamic–Adar (Adamic and Adar, Social Networks 25, 2003); resource allocation (Zhou, Lü and Zhang,
    EPJ B 71, 2009); degree-normalised paths of length three (Kovács et al., Nature Communications 10, 2019); cosine of
    the text vectors; both degrees; cosine of the words; shared neighbours, each by how near its text is to either end;
    cosine of the states; and shared neighbours, each by how near its state is to either end: what neural common
    neighbours pool (Wang, Yang and Zhang, ICLR 2024), without a layer of its own. Counts enter as log(1 + x).

    Args:
        graph: only links that may be seen.
        vectors: float32 (N, dim), unit length; dim may be 0.
        words: float32 (N, terms), unit TF-IDF rows; where None, no words are shared.
        states: float32 (N, W), unit length; where None, their features are 0.
    """

    def __init__(
        self, graph: Graph, vectors: np.ndarray, words: sp.csr_matrix | None = None, states: np.ndarray | None = None
    ) -> None:
        self.graph, self.vectors, self.words, self.states = graph, vectors, words, states
        degrees = graph.degrees.astype(np.float32)
        self._adamic_adar = np.where(degrees > 1, 1 / np.log(np.maximum(degrees, 2)), 0).astype(np.float32)
        self._resource = np.where(degrees > 0, 1 / np.maximum(degrees, 1), 0).astype(np.float32)
        self._root = np.sqrt(self._resource)
        self._log_degrees = np.log1p(degrees)

    def pairs(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Features of pairs that are not linked in the graph: int64 (P,) twice in, float32 (P, F) out, by ``FEATURES``.

        Cost grows with P times the degrees of the pairs; memory is bounded by a block.
        """
        order = np.argsort(sources, kind="stable")
        features = np.empty((len(sources), len(FEATURES)), np.float32)
        for start in range(0, len(order), _PAIRS_AT_ONCE):
            block = order[start : start + _PAIRS_AT_ONCE]
            features[block] = self._block(sources[block], targets[block])
        return features

    def _block(self, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        pair, middle = self._shared(s, t)
        columns = {
            "common_neighbours": np.bincount(pair, minlength=len(s)),
            "adamic_adar": np.bincount(pair, self._adamic_adar[middle], minlength=len(s)),
            "resource_allocation": np.bincount(pair, self._resource[middle], minlength=len(s)),
            "three_paths": self._three_paths(s, t),
            "similar_paths": self._paths_by(self.vectors, s, t, pair, middle),
            "state_paths": self._paths_by(self.states, s, t, pair, middle),
        }
        made = {name: np.log1p(counts) for name, counts in columns.items()}
        made |= {
            "cosine": _inner(self.vectors, s, t),
            "source_degree": self._log_degrees[s],
            "target_degree": self._log_degrees[t],
            "shared_words": self._shared_words(s, t),
            "state_cosine": _inner(self.states, s, t),
        }
        return np.column_stack([made[name] for name in FEATURES]).astype(np.float32)

    def _shared(self, s: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shared neighbours: the pair's number and the neighbour, int64 (C,) each."""
        links = self.graph.adjacency
        both = links[s].multiply(links[t]).tocsr()
        return np.repeat(np.arange(len(s)), np.diff(both.indptr)), both.indices

    def _paths_by(
        self, vectors: np.ndarray | None, s: np.ndarray, t: np.ndarray, pair: np.ndarray, middle: np.ndarray
    ) -> np.ndarray:
        """Shared neighbours, each by the root of its cosines with both ends, over the root of its degree; (P,)."""
        if vectors is None or not vectors.shape[1]:
            return np.zeros(len(s), np.float32)
        near = np.empty(len(pair), np.float32)
        for start in range(0, len(pair), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            between = vectors[middle[part]]
            ends = (np.einsum("cw,cw->c", between, vectors[end[pair[part]]]) for end in (s, t))
            near[part] = np.sqrt(np.prod([np.maximum(cosine, 0.01) for cosine in ends], axis=0))
        return np.bincount(pair, near * self._root[middle], minlength=len(s))

    def _three_paths(self, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Paths s-a-b-t over four documents, each weighted 1/sqrt(d_a d_b); float32 (P,), ``s`` ascending.

        What is two links from a source is scattered into a scratch row, from which the targets' neighbours gather; only
        what was written is cleared, so that a source costs what is near it.
        """
        unique, row = np.unique(s, return_inverse=True)
        n, found = self.graph.num_nodes, np.zeros(len(s), np.float32)
        rows = max(1, min(len(unique), _ROWS_AT_ONCE // n))
        scratch = np.zeros(rows * n, np.float32)
        bounds = np.searchsorted(row, np.arange(0, len(unique) + rows, rows))
        for number, first in enumerate(range(0, len(unique), rows)):
            chosen = slice(bounds[number], bounds[number + 1])
            second = (self._scaled(unique[first : first + rows]) @ self.graph.adjacency).tocsr()
            written = np.repeat(np.arange(second.shape[0]), np.diff(second.indptr)) * n + second.indices
            scratch[written] = second.data
            scratch[np.arange(second.shape[0]) * n + unique[first : first + rows]] = 0  # not back through the source
            ends = self.graph.adjacency[t[chosen]]
            weights = self._root[ends.indices]
            at = np.repeat(row[chosen] - first, np.diff(ends.indptr)) * n + ends.indices
            pair = np.repeat(np.arange(ends.shape[0]), np.diff(ends.indptr))
            found[chosen] = np.bincount(pair, scratch[at] * weights, minlength=ends.shape[0])
            scratch[written] = 0
        return found

    def _scaled(self, sources: np.ndarray) -> sp.csr_matrix:
        """Rows of the adjacency, each neighbour by the inverse root of its degree."""
        near = self.graph.adjacency[sources]
        near.data = self._root[near.indices]
        return near

    def _shared_words(self, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        if self.words is None:
            return np.zeros(len(s), np.float32)
        return np.asarray(self.words[s].multiply(self.words[t]).sum(axis=1), np.float32).ravel()


def _inner(vectors: np.ndarray | None, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    if vectors is None:
        return np.zeros(len(s), np.float32)
    return np.asarray(np.einsum("pd,pd->p", vectors[s], vectors[t]), np.float32)
