"""Where a capability stands in the graph of tools and capabilities.

Shapes: N nodes, C capabilities, T tools.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.capabilities.catalogue import Catalogue
from data.graph.graph import Graph

Values = npt.NDArray[np.float64]

DAMPING, ROUNDS, CLOSE_ENOUGH = 0.85, 150, 1e-10
COMMON_TOOL = 1000  # capabilities beyond which a tool says nothing of their likeness
BLOCK = 4096  # capabilities compared at a time


def pagerank(graph: Graph) -> Values:
    """PageRank of each node, float64 (N,), which sums to 1 (Page and others, 1999; damping 0.85).

    A node without neighbours hands its share to all.
    """
    count = graph.num_nodes
    if not count:
        return np.zeros(0)
    share = np.where(graph.degrees > 0, 1.0 / np.maximum(graph.degrees, 1), 0.0)
    alone = graph.degrees == 0
    rank = np.full(count, 1.0 / count)
    adjacency = graph.adjacency.astype(np.float64)
    for _ in range(ROUNDS):
        after = (1 - DAMPING) / count + DAMPING * (adjacency @ (rank * share) + rank[alone].sum() / count)
        moved, rank = float(np.abs(after - rank).sum()), after
        if moved < CLOSE_ENOUGH:
            break
    return rank


def clustering(catalogue: Catalogue) -> Values:
    """Clustering coefficient of each capability, float64 (C,), 0 to 1.

    In a graph of two kinds of nodes there are no triangles, so it is the one for two modes: the mean Jaccard overlap of
    its tools with those of each capability that shares one (Latapy, Magnien and Del Vecchio, Social Networks, 2008). A
    tool that more than ``COMMON_TOOL`` capabilities use counts for the size of their sets alone, which bounds the work.
    """
    count, tools = len(catalogue), len(catalogue.tools)
    ones = np.ones(len(catalogue.members))
    uses = sp.csr_array((ones, catalogue.members, catalogue.indptr), shape=(count, tools))
    sizes = np.diff(catalogue.indptr).astype(np.float64)
    common = np.bincount(catalogue.members, minlength=tools) > COMMON_TOOL
    rare = uses @ sp.diags_array(np.where(common, 0.0, 1.0), format="csr")
    means = np.zeros(count)
    for start in range(0, count, BLOCK):
        shared = sp.coo_array(rare[start : start + BLOCK] @ rare.T)
        row, other = shared.coords[0] + start, shared.coords[1]
        different = (row != other) & (shared.data > 0)
        row, other, both = row[different], other[different], shared.data[different]
        overlap = both / (sizes[row] + sizes[other] - both)
        many = np.bincount(row, minlength=count)[start : start + BLOCK]
        total = np.bincount(row, overlap, minlength=count)[start : start + BLOCK]
        means[start : start + BLOCK] = total / np.maximum(many, 1)
    return means
