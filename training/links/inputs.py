"""What is known of documents and links, as tensors that the model reads.

Shapes: N documents, E entries of the adjacency, I inputs.
"""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from data.graph.graph import Graph, GraphArtifact
from training.links.propagation import Links, Reach, Words
from training.structure.node2vec import Node2Vec, node2vec


class Inputs:
    """What is known of documents, on one device.

    Args:
        dense_NI: float32 (N, I), text vectors, words by latent semantic analysis and node2vec, side by side.
        words: float32 (N, terms), TF-IDF rows, or None.
        device: where the tensors go.
        nodes_N: int64, their rows in the table of learned vectors; None where these are all documents in their order.
    """

    def __init__(
        self,
        dense_NI: Tensor,
        words: sp.csr_matrix | None,
        device: torch.device | str = "cpu",
        nodes_N: Tensor | None = None,
    ) -> None:
        self.dense_NI = dense_NI.to(device)
        self.words = Words(words, device) if words is not None else None
        self.nodes_N = None if nodes_N is None else nodes_N.to(device)

    def to(self, device: torch.device) -> None:
        """Move the tensors to a device."""
        self.dense_NI = self.dense_NI.to(device)
        if self.words is not None:
            self.words.to(device)
        if self.nodes_N is not None:
            self.nodes_N = self.nodes_N.to(device)


class LinkTensors:
    """A graph as the model reads it, on one device.

    Args:
        graph: N documents.
        device: where the tensors go.
        relation_E: int64, relation of each entry of the adjacency; all 0 where None.
    """

    def __init__(self, graph: Graph, device: torch.device | str = "cpu", relation_E: np.ndarray | None = None) -> None:
        links = Links(graph)
        self.indices_E, self.starts_N = links.indices_E.to(device), links.starts_N.to(device)
        self.degrees_N = links.degrees_N.to(device)
        self.rows_E = torch.repeat_interleave(torch.arange(graph.num_nodes), torch.from_numpy(graph.degrees)).to(device)
        kinds = np.zeros(len(graph.indices), np.int64) if relation_E is None else relation_E
        self.relation_E = torch.from_numpy(kinds).to(device)
        self._whole = Reach(graph.num_nodes, len(graph.indices))

    def reach(self, step: int) -> Reach:
        """Every step computes all documents."""
        return self._whole


def relation_of_entries(graph: GraphArtifact, links: Graph) -> np.ndarray:
    """Relation of each entry of an adjacency, int64 (E,): the first that the corpus gives for its pair.

    Args:
        graph: of the corpus.
        links: some of its links.
    """
    n = len(graph.ids)
    codes, first = np.unique(graph.pairs.min(1).astype(np.int64) * n + graph.pairs.max(1), return_index=True)
    row = np.repeat(np.arange(n), links.degrees)
    asked = np.minimum(row, links.indices) * n + np.maximum(row, links.indices)
    relation: np.ndarray = graph.relation[first[np.searchsorted(codes, asked)]].astype(np.int64)
    return relation


def words_map(words: sp.csr_matrix | None, dimensions: int, seed: int) -> np.ndarray:
    """The map of latent semantic analysis, float32 (terms, dimensions); documents have a norm of about 1.

    Deerwester et al., 1990; by a randomised SVD (Halko, Martinsson and Tropp, SIAM Review 2011).
    """
    if words is None or not words.nnz or not dimensions:
        return np.zeros((0, 0), np.float32)
    from sklearn.utils.extmath import randomized_svd

    dimensions = min(dimensions, *(side - 1 for side in words.shape)) or 1
    directions = randomized_svd(words, dimensions, n_iter=2, random_state=seed)[2].T.astype(np.float32)
    norms = np.linalg.norm(words @ directions, axis=1)
    scaled: np.ndarray = directions / max(float(norms[norms > 0].mean()), 1e-6)
    return scaled


def walk_vectors(links: Graph, dimensions: int, seed: int) -> np.ndarray:
    """node2vec of a training graph, float32 (N, dimensions); documents with links have a norm of about 1, others 0.

    Args:
        links: those that may be seen: what a model is asked for later must not be among them.
        dimensions: of the vectors.
        seed: of the walks.
    """
    vectors = node2vec(links, Node2Vec(dim=dimensions, seed=seed))
    norms = np.linalg.norm(vectors, axis=1)
    scaled: np.ndarray = vectors / max(float(norms[norms > 0].mean()) if norms.any() else 0.0, 1e-6)
    return scaled
