"""node2vec: vectors of documents whose inner products say how often walks over the links meet both.

Walks are those of Grover and Leskovec (KDD 2016). Their skip-gram with negative sampling factorises, where it has
enough dimensions, the matrix of shifted positive pointwise mutual information of what walks visit together (Levy and
Goldberg, NeurIPS 2014; for walks: Qiu et al., WSDM 2018). So that matrix is counted and factorised at once, by a
randomised SVD, instead of being learnt example by example.

Shapes: N documents, W walks, D dimensions, M links in either direction.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.graph.graph import Graph

Nodes = npt.NDArray[np.int64]

WALKS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Node2Vec:
    """How documents are walked from and how wide their vectors are.

    Args:
        dim: D; 128 as in the paper.
        walks: started from each document.
        length: steps of a walk; what it visits counts as met by its start, as within a window of that size.
        back: p, how unlikely a walk is to return to where it came from.
        away: q, how unlikely it is to go farther away from there. With p and q 1 the walks are those of DeepWalk.
        negatives: b, shifts the information by log b, as that many negative samples do.
        seed: of walks and of the decomposition.
    """

    dim: int = 128
    walks: int = 40
    length: int = 5
    back: float = 1.0
    away: float = 1.0
    negatives: float = 1.0
    seed: int = 0


def node2vec(graph: Graph, config: Node2Vec) -> npt.NDArray[np.float32]:
    """Vectors of all documents.

    Args:
        graph: of the links that may be seen: the training links.
        config: sizes and seed.

    Returns:
        float32 (N, D), zeros for documents without links; inner products approximate the mutual information.
    """
    met = information(meetings(graph, config), config.negatives)
    return factorise(met, config.dim, config.seed)


def meetings(graph: Graph, config: Node2Vec) -> sp.csr_array:
    """How often a walk from one document visits another: float32 CSR (N, N), symmetric.

    Documents start walks in proportion to their links, as they would be visited by long walks.
    """
    rng = np.random.default_rng(config.seed)
    n = graph.num_nodes
    counted = sp.csr_array((n, n), dtype=np.float32)
    starts = np.repeat(np.arange(n), graph.degrees)
    total = config.walks * int((graph.degrees > 0).sum())
    for done in range(0, total, WALKS_AT_ONCE):
        count = min(WALKS_AT_ONCE, total - done)
        start = starts[rng.integers(0, len(starts), count)]
        visited = walk(graph, start, config, rng)
        rows, columns = np.tile(start, config.length), visited.ravel()
        apart = rows != columns
        ones = np.ones(int(apart.sum()), np.float32)
        counted = counted + sp.csr_array(sp.coo_array((ones, (rows[apart], columns[apart])), (n, n)))
    return sp.csr_array(counted + counted.T)


def walk(graph: Graph, start: Nodes, config: Node2Vec, rng: np.random.Generator) -> Nodes:
    """Documents that walks visit: int64 (W,) starts with links in, int64 (length, W) out.

    A step is drawn evenly and accepted with the probability that p and q give it, else drawn anew (rejection sampling,
    Yang et al., KnightKing, SOSP 2019): no table per link is needed.
    """
    visited = np.empty((config.length, len(start)), np.int64)
    before, here = start, start
    biased = (config.back, config.away) != (1.0, 1.0)
    links = np.repeat(np.arange(graph.num_nodes), graph.degrees) * graph.num_nodes + graph.indices if biased else None
    for step in range(config.length):
        there = _neighbour(graph, here, rng)
        if step > 0 and links is not None:
            there = _biased(graph, links, before, here, there, config, rng)
        visited[step] = there
        before, here = here, there
    return visited


def _neighbour(graph: Graph, nodes: Nodes, rng: np.random.Generator) -> Nodes:
    offset = (rng.random(len(nodes)) * graph.degrees[nodes]).astype(np.int64)
    return np.asarray(graph.indices[graph.indptr[nodes] + offset], np.int64)


def _biased(
    graph: Graph, links: Nodes, before: Nodes, here: Nodes, there: Nodes, config: Node2Vec, rng: np.random.Generator
) -> Nodes:
    """Steps drawn anew until accepted; ``links`` are those of the graph as ascending codes, source and target."""
    weights = np.array([1.0, 1 / config.back, 1 / config.away]) / max(1.0, 1 / config.back, 1 / config.away)
    there, open_ = there.copy(), np.arange(len(there))
    while len(open_):
        codes = before[open_] * graph.num_nodes + there[open_]
        near = links[np.minimum(np.searchsorted(links, codes), len(links) - 1)] == codes
        kind = np.where(there[open_] == before[open_], 1, np.where(near, 0, 2))
        open_ = open_[rng.random(len(open_)) >= weights[kind]]
        there[open_] = _neighbour(graph, here[open_], rng)
    return there


def information(counts: sp.csr_array, negatives: float) -> sp.csr_array:
    """Positive pointwise mutual information, shifted by log ``negatives``: float32 CSR (N, N)."""
    total = counts.sum()
    margin = np.asarray(counts.sum(axis=1)).ravel()
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    ratio = counts.data * (total / negatives) / (margin[row] * margin[counts.indices])
    shifted = sp.csr_array((np.log(np.maximum(ratio, 1.0)), counts.indices.copy(), counts.indptr.copy()), counts.shape)
    shifted.eliminate_zeros()
    return shifted.astype(np.float32)


def factorise(matrix: sp.csr_array, dim: int, seed: int, rounds: int = 4) -> npt.NDArray[np.float32]:
    """Vectors of a symmetric matrix's rows by its largest positive eigenvalues: float32 (N, D).

    Randomised subspace iteration with ten directions more than wanted (Halko, Martinsson and Tropp, SIAM Review 2011).
    The products of two vectors approximate the matrix.
    """
    n = matrix.shape[0]
    width = min(dim + 10, n)
    basis = np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)
    for _ in range(rounds):
        basis, _ = np.linalg.qr(matrix @ basis)
    values, directions = np.linalg.eigh(basis.T @ (matrix @ basis))
    best = np.argsort(-values, kind="stable")[: min(dim, n)]
    scaled = directions[:, best] * np.sqrt(np.maximum(values[best], 0))
    vectors = np.zeros((n, dim), np.float32)
    vectors[:, : len(best)] = basis @ scaled.astype(np.float32)
    return vectors
