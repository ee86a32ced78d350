"""What the neighbourhoods and the texts of two documents say about a link between them.

A pair that is already linked in the graph gets the figures it would have without that link, so that a training pair
looks as a held-out pair will.
"""

from functools import cached_property

import numpy as np
import scipy.sparse as sp

from data.graph import Graph

FEATURES = (
    "common_neighbours",
    "adamic_adar",
    "resource_allocation",
    "three_paths",
    "cosine",
    "source_degree",
    "target_degree",
)
_BLOCK_FLOATS = 2**25  # a block of dense rows takes at most 128 MiB a feature


class PairFeatures:
    """Features of pairs of documents, counted on one graph.

    Common neighbours; Adamic–Adar (Adamic and Adar, Social Networks 25, 2003); resource allocation (Zhou, Lü and Zhang,
    EPJ B 71, 2009); degree-normalised paths of length three (Kovács et al., Nature Communications 10, 2019); cosine of
    the texts; both degrees. Counts enter as log(1 + x).

    Args:
        graph: n nodes; only links a model may see.
        vectors: float32 (n, dim), unit length.
    """

    def __init__(self, graph: Graph, vectors: np.ndarray) -> None:
        self.graph = graph
        self.vectors = vectors
        degrees = graph.degrees.astype(np.float32)
        self._root = np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0).astype(np.float32)
        self._log_degrees = np.log1p(degrees)
        self._adamic_adar = self._weighted(np.where(degrees > 1, 1 / np.log(np.maximum(degrees, 2)), 0))
        self._resource = self._weighted(np.where(degrees > 0, 1 / np.maximum(degrees, 1), 0))
        self._rooted = self._weighted(self._root)

    def _weighted(self, weights: np.ndarray) -> sp.csr_matrix:
        """Adjacency with row w scaled by the weight that w has as a node in the middle."""
        graph = self.graph
        data = np.repeat(weights.astype(np.float32), graph.degrees)
        return sp.csr_matrix((data, graph.indices, graph.indptr), shape=graph.adjacency.shape)

    @cached_property
    def _neighbour_roots(self) -> np.ndarray:
        """float32 (n,): sum of degree^-1/2 over each node's neighbours."""
        return self.graph.adjacency @ self._root

    def block_rows(self) -> int:
        """How many sources to ask for at once so that a dense block stays within 128 MiB a feature."""
        return max(1, _BLOCK_FLOATS // max(1, self.graph.num_nodes))

    def rows(self, sources: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Features of every source with every column.

        Args:
            sources: int64 (S,).
            columns: int64 (C,); all n nodes where None.

        Returns:
            float32 (F, S, C) in the order of ``FEATURES``: one contiguous plane a feature.
        """
        chosen: np.ndarray | slice = slice(None) if columns is None else columns
        width = self.graph.num_nodes if columns is None else len(columns)
        planes = np.empty((len(FEATURES), len(sources), width), np.float32)
        near = self.graph.adjacency[sources]
        for plane, middle in enumerate((self.graph.adjacency, self._adamic_adar, self._resource)):
            planes[plane] = (near @ middle).toarray()[:, chosen]
        planes[3] = self._three_paths(near, sources)[:, chosen]
        np.log1p(planes[:4], out=planes[:4])
        np.matmul(self.vectors[sources], self.vectors[chosen].T, out=planes[4])
        planes[5] = self._log_degrees[sources][:, None]
        planes[6] = self._log_degrees[chosen][None, :]
        self._forget_own_link(planes, near, sources, chosen)
        return planes

    def _three_paths(self, near: sp.csr_matrix, sources: np.ndarray) -> np.ndarray:
        """Paths u-a-b-v, each weighted 1/sqrt(d_a d_b), without those that walk the link u-v itself; float32 (S, n)."""
        paths: np.ndarray = ((near @ self._rooted) @ self._rooted).toarray()
        linked = near.tocoo()
        u, v = sources[linked.row], linked.col
        through_link = (
            self._root[v] * self._neighbour_roots[v]
            + self._root[u] * self._neighbour_roots[u]
            - self._root[u] * self._root[v]
        )
        paths[linked.row, v] -= through_link
        np.maximum(paths, 0, out=paths)
        return paths

    def _forget_own_link(
        self, planes: np.ndarray, near: sp.csr_matrix, sources: np.ndarray, chosen: np.ndarray | slice
    ) -> None:
        """Degrees of linked pairs, less the link between them."""
        linked = near.toarray()[:, chosen] > 0
        degrees = self.graph.degrees
        without = np.log(np.maximum(degrees, 1)).astype(np.float32)  # log(1 + (d - 1))
        planes[5] = np.where(linked, without[sources][:, None], planes[5])
        planes[6] = np.where(linked, without[chosen][None, :], planes[6])

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
