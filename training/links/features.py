"""Features of a pair of documents, from their neighbourhoods and texts, for the link between them.

A model learns from links that are in the graph and is asked about links that are not. So the features of a training
link are those of the graph without it: for its own pair and for every pair it is compared with, or the difference
between them would give the link away.
"""

import numpy as np
import scipy.sparse as sp

from data.graph.graph import Graph

FEATURES = (
    "common_neighbours",
    "adamic_adar",
    "resource_allocation",
    "three_paths",
    "cosine",
    "source_degree",
    "target_degree",
    "shared_words",
    "similar_paths",
)
STRUCTURE = FEATURES[: FEATURES.index("shared_words")]  # those that read no word: what the baseline is given
_BLOCK_FLOATS = 2**25  # a block of dense rows takes at most 128 MiB a feature


class PairFeatures:
    """Features of pairs of documents, counted on one graph.

    Common neighbours; Adamic–Adar (Adamic and Adar, Social Networks 25, 2003); resource allocation (Zhou, Lü and Zhang,
    EPJ B 71, 2009); degree-normalised paths of length three (Kovács et al., Nature Communications 10, 2019); cosine of
    the text vectors; both degrees; cosine of the words; and shared neighbours again, each by how near its text is to
    either end. Counts enter as log(1 + x).

    Args:
        graph: n nodes; only links a model may see.
        vectors: float32 (n, dim), unit length.
        words: float32 (n, terms), unit TF-IDF rows; where None, no words are shared.
    """

    def __init__(self, graph: Graph, vectors: np.ndarray, words: sp.csr_matrix | None = None) -> None:
        self.graph = graph
        self.vectors = vectors
        self._words = words if words is not None else sp.csr_matrix(np.zeros((graph.num_nodes, 1), np.float32))
        self._postings: sp.csr_matrix = self._words.T.tocsr()
        degrees = graph.degrees.astype(np.float32)
        self._root = np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0).astype(np.float32)
        self._log_degrees = np.log1p(degrees)
        self._adamic_adar = self._weighted(np.where(degrees > 1, 1 / np.log(np.maximum(degrees, 2)), 0))
        self._resource = self._weighted(np.where(degrees > 0, 1 / np.maximum(degrees, 1), 0))
        self._rooted = self._weighted(self._root)
        self._similar, self._similar_rooted = self._by_text()

    def _weighted(self, weights: np.ndarray) -> sp.csr_matrix:
        """Adjacency with row w scaled by the weight that w has as a node in the middle."""
        graph = self.graph
        data = np.repeat(weights.astype(np.float32), graph.degrees)
        return sp.csr_matrix((data, graph.indices, graph.indptr), shape=graph.adjacency.shape)

    def _by_text(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Adjacency with each link weighted by the root of its cosine; the same over the root of each row's sum."""
        graph = self.graph
        weights = np.empty(len(graph.indices), np.float32)
        row = np.repeat(np.arange(graph.num_nodes), graph.degrees)
        for start in range(0, len(weights), 65_536):
            u, v = row[start : start + 65_536], graph.indices[start : start + 65_536]
            cosine = np.einsum("ed,ed->e", self.vectors[u], self.vectors[v])
            weights[start : start + 65_536] = np.sqrt(np.maximum(cosine, 0.01))
        strength = np.bincount(row, weights.astype(np.float64), minlength=graph.num_nodes)
        rooted = weights / np.sqrt(np.maximum(strength, 0.01))[row]
        shape = graph.adjacency.shape
        similar: sp.csr_matrix = sp.csr_matrix((weights, graph.indices, graph.indptr), shape=shape)
        return similar, sp.csr_matrix((rooted.astype(np.float32), graph.indices, graph.indptr), shape=shape)

    def block_rows(self) -> int:
        """How many sources to ask for at once so that a dense block stays within 128 MiB a feature."""
        return max(1, _BLOCK_FLOATS // max(1, self.graph.num_nodes))

    def rows(
        self, sources: np.ndarray, columns: np.ndarray | None = None, without: np.ndarray | None = None
    ) -> np.ndarray:
        """Features of every source with every column; meant for pairs that are not linked in the graph.

        Args:
            sources: int64 (S,).
            columns: int64 (C,); all n nodes where None.
            without: int64 (S,), for each source a neighbour; its row is that of the graph without the link to it.

        Returns:
            float32 (F, S, C) in the order of ``FEATURES``: one contiguous plane a feature.
        """
        chosen: np.ndarray | slice = slice(None) if columns is None else columns
        width = self.graph.num_nodes if columns is None else len(columns)
        planes = np.empty((len(FEATURES), len(sources), width), np.float32)
        near = self.graph.adjacency[sources]
        near_by_text = self._similar[sources]
        if without is not None:
            left_out = near.indices == without[_row_numbers(near)]
            near.data[left_out] = near_by_text.data[left_out] = 0
        for plane, middle in enumerate((self.graph.adjacency, self._adamic_adar, self._resource)):
            planes[plane] = (near @ middle).toarray()[:, chosen]
        planes[3] = self._three_paths(near, sources, without)[:, chosen]
        np.log1p(planes[:4], out=planes[:4])
        np.matmul(self.vectors[sources], self.vectors[chosen].T, out=planes[4])
        planes[5] = self._log_degrees[sources][:, None]
        planes[6] = self._log_degrees[chosen][None, :]
        planes[8] = np.log1p((near_by_text @ self._similar_rooted).toarray()[:, chosen])
        planes[7] = (self._words[sources] @ self._postings).toarray()[:, chosen]
        if without is not None:
            one_less = np.log(np.maximum(self.graph.degrees, 1)).astype(np.float32)  # log(1 + (d - 1))
            planes[5] = one_less[sources][:, None]
            row, column = np.nonzero(without[:, None] == np.arange(self.graph.num_nodes)[chosen])
            planes[6, row, column] = one_less[without[row]]
        return planes

    def _three_paths(self, near: sp.csr_matrix, sources: np.ndarray, without: np.ndarray | None) -> np.ndarray:
        """Paths u-a-b-v over four nodes, each weighted 1/sqrt(d_a d_b); float32 (S, n)."""
        second = near @ self._rooted
        row = _row_numbers(second)
        second.data[second.indices == sources[row]] = 0
        if without is not None:
            degrees = self.graph.degrees[without]
            heavier = np.sqrt(degrees / np.maximum(degrees - 1, 1)).astype(np.float32)
            end = second.indices == without[row]
            second.data[end] *= heavier[row[end]]
        paths: np.ndarray = (second @ self._rooted).toarray()
        return paths

    def pairs(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Features of single pairs: int64 (P,) and (P,) in, float32 (F, P) out."""
        features = np.empty((len(FEATURES), len(sources)), np.float32)
        order = np.argsort(sources, kind="stable")
        rows = self.block_rows()
        unique, starts = np.unique(sources[order], return_index=True)
        bounds = np.append(starts, len(order))
        for first in range(0, len(unique), rows):
            block = unique[first : first + rows]
            chosen = order[bounds[first] : bounds[first + len(block)]]
            columns, column = np.unique(targets[chosen], return_inverse=True)
            features[:, chosen] = self.rows(block, columns)[:, np.searchsorted(block, sources[chosen]), column]
        return features


def _row_numbers(matrix: sp.csr_matrix) -> np.ndarray:
    """int64 (nnz,): the row of each stored entry."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
