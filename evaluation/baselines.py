"""What a link model must beat: scorers that need no training. Each scores (S,) sources against all N documents."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from data.graph.graph import Graph
from evaluation.links import Nodes, Scorer


def cosine(vectors: npt.NDArray[np.float32]) -> Scorer:
    """Cosine of the text vectors.

    Args:
        vectors: float32 (N, dim) of unit length; may be memory-mapped.
    """

    def score(sources: Nodes) -> npt.NDArray[np.float32]:
        return np.asarray(vectors[sources] @ vectors.T, dtype=np.float32)

    return score


def common_neighbours(graph: Graph) -> Scorer:
    """Number of shared neighbours (Liben-Nowell and Kleinberg, CIKM 2003).

    Args:
        graph: of the links that may be seen: the training links.
    """
    return _through_neighbours(graph, np.ones_like)


def adamic_adar(graph: Graph) -> Scorer:
    """Shared neighbours, each worth 1 / log(its degree) (Adamic and Adar, Social Networks, 2003).

    A neighbour of degree 1 is shared by nobody, so it is worth 0 here rather than 1 / 0.

    Args:
        graph: of the training links.
    """
    return _through_neighbours(graph, lambda degree: 1.0 / np.log(np.maximum(degree, 2.0)))


def resource_allocation(graph: Graph) -> Scorer:
    """Shared neighbours, each worth 1 / its degree (Zhou, Lü and Zhang, European Physical Journal B, 2009).

    Args:
        graph: of the training links.
    """
    return _through_neighbours(graph, lambda degree: 1.0 / np.maximum(degree, 1.0))


def _through_neighbours(graph: Graph, worth: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Scorer:
    links = graph.adjacency
    weighted = sparse.diags_array(worth(graph.degrees.astype(np.float64)).astype(np.float32)) @ links

    def score(sources: Nodes) -> npt.NDArray[np.float32]:
        return np.asarray((links[sources] @ weighted).toarray(), dtype=np.float32)

    return score
