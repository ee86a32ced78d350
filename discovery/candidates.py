"""Pairs of documents worth scoring, found through indexes and the graph: never all pairs.

Shapes: n documents, P candidate pairs.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.graph.graph import Graph
from data.matrices import unit_rows
from discovery.config import DiscoverConfig

logger = logging.getLogger("catena")

Nodes = npt.NDArray[np.int64]

SOURCES = {"text": 1, "model": 2, "two_hop": 4}
"""How a pair was found, as bits: nearest by text, nearest by the link model, neighbours of one neighbour."""

SEARCHED_AT_ONCE = 4096  # rows per FAISS call: bounds its score matrix
PATHS_AT_ONCE = 4_000_000  # two-hop paths expanded at once: bounds the sparse product at about 100 MB


@dataclass(frozen=True)
class Candidates:
    """Unordered pairs, each once, ascending by (low, high).

    Attributes:
        low: int64 (P,) the smaller node number.
        high: int64 (P,) the larger one.
        found_by: uint8 (P,) bits of ``SOURCES``.
    """

    low: Nodes
    high: Nodes
    found_by: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.low)


def pair_codes(a: Nodes, b: Nodes, num_nodes: int) -> Nodes:
    """One number per unordered pair, int64 (P,): equal exactly where the pairs are."""
    return np.minimum(a, b) * num_nodes + np.maximum(a, b)


def find_candidates(
    graph: Graph,
    text_vectors: npt.NDArray[np.float32],
    model_vectors: npt.NDArray[np.float32],
    config: DiscoverConfig,
) -> Candidates:
    """Pairs near in text, near in the model or two steps apart, without self links and links of ``graph``.

    At most the sum of the three numbers of neighbours per document: grows with n, not with its square.

    Args:
        graph: the links that may be seen.
        text_vectors: float32 (n, dim), unit length or zero.
        model_vectors: float32 (n, d) of any length.
        config: how many neighbours of each kind.
    """
    streams = {
        "text": nearest(text_vectors, config.text_neighbours, config.exact_below, config.seed),
        "model": nearest(model_vectors, config.model_neighbours, config.exact_below, config.seed),
        "two_hop": two_hop(graph, config.two_hop_neighbours, config.hub_degree),
    }
    n = graph.num_nodes
    rows = np.repeat(np.arange(n), graph.degrees)
    linked = rows * n + graph.indices  # ascending, as the graph's rows are
    codes, bits = np.empty(0, np.int64), np.empty(0, np.uint8)
    for name, stream in streams.items():
        found = [np.unique(pair_codes(a, b, n)) for a, b in stream]
        if not found:
            continue
        new = np.unique(np.concatenate(found))
        new = new[~_contains(linked, new)]
        logger.info("discover: %s candidates by %s", f"{len(new):,}", name.replace("_", "-"))
        codes, inverse = np.unique(np.concatenate([codes, new]), return_inverse=True)
        merged = np.zeros(len(codes), np.uint8)
        np.bitwise_or.at(merged, inverse, np.concatenate([bits, np.full(len(new), SOURCES[name], np.uint8)]))
        bits = merged
    return Candidates(codes // n, codes % n, bits)


def nearest(vectors: npt.NDArray[np.float32], k: int, exact_below: int, seed: int = 0) -> Iterator[tuple[Nodes, Nodes]]:
    """Each document's k nearest others by cosine, in blocks of (document, neighbour).

    Up to ``exact_below`` documents an exact index; above, an inverted file with about 4 sqrt(n) lists of which 32 are
    looked into. Neighbours of cosine 0 or less are not near, and a zero vector has none.
    """
    if k == 0 or len(vectors) < 2:
        return
    import faiss

    n, dim = vectors.shape
    if n <= exact_below:
        index = faiss.IndexFlatIP(dim)
    else:
        lists = int(4 * np.sqrt(n))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = 32
        sample = np.sort(np.random.default_rng(seed).choice(n, min(n, 64 * lists), replace=False))
        index.train(_unit(vectors[sample]))
    for start in range(0, n, SEARCHED_AT_ONCE):
        index.add(_unit(vectors[start : start + SEARCHED_AT_ONCE]))
    for start in range(0, n, SEARCHED_AT_ONCE):
        cosines, found = index.search(_unit(vectors[start : start + SEARCHED_AT_ONCE]), min(k + 1, n))
        rows = np.repeat(np.arange(start, start + len(found)), found.shape[1])
        neighbours = found.ravel()
        near = (cosines.ravel() > 1e-6) & (neighbours != rows) & (neighbours >= 0)
        yield rows[near], neighbours[near]


def two_hop(graph: Graph, per_node: int, hub_degree: int) -> Iterator[tuple[Nodes, Nodes]]:
    """Each document's neighbours of neighbours with the largest resource allocation, in blocks of (document, other).

    Documents are taken in blocks of bounded numbers of paths. Paths through hubs are left out: a hub of degree d joins
    d^2 pairs, each with a weight of only 1 / d.
    """
    if per_node == 0 or len(graph.indices) == 0:
        return
    passable = graph.degrees <= hub_degree
    worth = np.where(passable, 1.0 / np.maximum(graph.degrees, 1), 0.0).astype(np.float32)
    weighted = sp.csr_array(sp.diags_array(worth) @ graph.adjacency)
    weighted.eliminate_zeros()
    adjacency = sp.csr_array(graph.adjacency)
    closed = adjacency + sp.eye_array(graph.num_nodes, dtype=np.float32, format="csr")
    paths = np.cumsum(adjacency @ (graph.degrees * passable))
    start = 0
    while start < graph.num_nodes:
        done = paths[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(paths, done + PATHS_AT_ONCE, side="right")))
        reached = adjacency[start:end] @ weighted
        reached = sp.csr_array(reached - reached.multiply(closed[start:end]))  # x - x is exactly 0
        reached.eliminate_zeros()
        rows = np.repeat(np.arange(end - start), np.diff(reached.indptr))
        order = np.lexsort((reached.indices, -reached.data, rows))
        place = np.arange(len(order)) - np.repeat(reached.indptr[:-1], np.diff(reached.indptr))
        kept = order[place < per_node]
        yield (rows[kept] + start).astype(np.int64), reached.indices[kept].astype(np.int64)
        start = end


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Contiguous rows of unit length, as FAISS reads them."""
    return unit_rows(np.ascontiguousarray(vectors, np.float32))


def _contains(ascending: Nodes, codes: Nodes) -> npt.NDArray[np.bool_]:
    """Whether each code is in an ascending array."""
    if len(ascending) == 0:
        return np.zeros(len(codes), np.bool_)
    place = np.minimum(np.searchsorted(ascending, codes), len(ascending) - 1)
    return np.asarray(ascending[place] == codes)
