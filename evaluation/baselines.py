"""What a link model must beat: scorers of links that need no training, each from the training links alone.

Scores of most pairs are exactly 0 where they are made of shared neighbours or of short paths, so these scorers return
sparse rows: a source costs the documents near it, whatever the size of the catalogue.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.graph.graph import Graph, GraphArtifact
from data.matrices import orthonormal_columns, unit_rows
from evaluation.blocks import Nodes
from evaluation.links import LinkScores, Scorer, row_pairs

Values = npt.NDArray[np.float64]

PROJECTED = 64  # dimensions of the random projection
KATZ_FACTOR = 0.005
KATZ_LENGTH = 3
RESTART = 0.15
TOLERANCE = 2e-4


def cosine(vectors: npt.NDArray[np.float32]) -> Scorer:
    """Cosine of the text vectors.

    Args:
        vectors: float32 (N, dim) of unit length; may be memory-mapped.
    """

    def score(sources: Nodes) -> npt.NDArray[np.float32]:
        return np.asarray(vectors[sources] @ vectors.T, dtype=np.float32)

    return score


def similarity(vectors: npt.NDArray[np.float32]) -> LinkScores:
    """Inner product of two documents' vectors, whole rows and single pairs.

    Args:
        vectors: float32 (N, dim); of unit length, the score is their cosine.
    """

    def pairs(sources: Nodes, targets: Nodes) -> npt.NDArray[np.float32]:
        return np.asarray(np.einsum("pd,pd->p", vectors[sources], vectors[targets]), np.float32)

    return LinkScores(cosine(vectors), pairs)


def random_projection(vectors: npt.NDArray[np.float32], seed: int = 0) -> LinkScores:
    """Cosine after a random projection to ``PROJECTED`` dimensions (Johnson and Lindenstrauss, 1984).

    What an encoder of that width is worth before it has learnt anything: a trained one must be better.

    Args:
        vectors: float32 (N, dim) of unit length.
        seed: of the projection.
    """
    dim = vectors.shape[1]
    matrix = orthonormal_columns(dim, min(dim, PROJECTED), seed).astype(np.float32)
    return similarity(unit_rows(np.asarray(vectors @ matrix)))


def common_neighbours(graph: Graph) -> LinkScores:
    """Number of shared neighbours (Liben-Nowell and Kleinberg, CIKM 2003).

    Args:
        graph: of the links that may be seen: the training links.
    """
    return _through_neighbours(graph, np.ones_like)


def adamic_adar(graph: Graph) -> LinkScores:
    """Shared neighbours, each worth 1 / log(its degree) (Adamic and Adar, Social Networks, 2003).

    A neighbour of degree 1 is shared by nobody, so it is worth 0 here rather than 1 / 0.

    Args:
        graph: of the training links.
    """
    return _through_neighbours(graph, lambda degree: 1.0 / np.log(np.maximum(degree, 2.0)))


def resource_allocation(graph: Graph) -> LinkScores:
    """Shared neighbours, each worth 1 / its degree (Zhou, Lü and Zhang, European Physical Journal B, 2009).

    Args:
        graph: of the training links.
    """
    return _through_neighbours(graph, lambda degree: 1.0 / np.maximum(degree, 1.0))


def _through_neighbours(graph: Graph, worth: Callable[[Values], Values]) -> LinkScores:
    links = sp.csr_array(graph.adjacency)
    weights = sp.diags_array(worth(graph.degrees.astype(np.float64)).astype(np.float32))
    weighted, heavy = sp.csr_array(weights @ links), sp.csr_array(links @ weights)

    def rows(sources: Nodes) -> sp.csr_array:
        return links[sources] @ weighted

    def pairs(sources: Nodes, targets: Nodes) -> npt.NDArray[np.float32]:
        return _inner(links[sources], heavy[targets])

    return LinkScores(rows, pairs)


def katz(graph: Graph, factor: float = KATZ_FACTOR, length: int = KATZ_LENGTH) -> LinkScores:
    """Paths between two documents, each worth ``factor`` to the power of its length (Katz, Psychometrika 1953).

    Paths of at most ``length`` links: those of four weigh 25 millionths of a shared neighbour each. The factor is the
    middle one of the three that Liben-Nowell and Kleinberg (CIKM 2003) compare.

    Args:
        graph: of the training links.
        factor: worth of a link.
        length: of the longest path counted.
    """
    links = sp.csr_array(graph.adjacency) * np.float32(factor)

    def rows(sources: Nodes) -> sp.csr_array:
        paths = links[sources]
        total = paths
        for _ in range(length - 1):
            paths = paths @ links
            total = total + paths
        return total

    def pairs(sources: Nodes, targets: Nodes) -> npt.NDArray[np.float32]:
        there, back = links[sources], links[targets]
        total = np.asarray(links[sources, targets], np.float32)
        for steps in range(2, length + 1):
            if steps > 2:  # the two ends walk in turn, and meet
                there, back = back @ links, there
            total += _inner(there, back)
        return total

    return LinkScores(rows, pairs)


class LocalPush:
    """Walks that start at a source, and start anew with probability ``restart``: how often they visit each document.

    Local push (Andersen, Chung and Lang, FOCS 2006), many sources at a time. What is not pushed is at most
    ``tolerance`` for each link of a document, so the work for a source is bounded by 1 / (restart · tolerance) links,
    however large the graph is. Restart 0.15 is that of Page et al. (1999).

    Args:
        graph: of the training links.
        restart: probability of a new start at every step.
        tolerance: probability per link below which it is not pushed on.
    """

    def __init__(self, graph: Graph, restart: float = RESTART, tolerance: float = TOLERANCE) -> None:
        self.restart, self.links = np.float32(restart), sp.csr_array(graph.adjacency)
        self.degrees = np.maximum(graph.degrees, 1).astype(np.float32)
        self._enough = np.float32(tolerance) * self.degrees

    def pushed(self, sources: Nodes) -> tuple[sp.csr_array, sp.csr_array]:
        """Visits counted, and those that one step more brings to each neighbour of a document: what was not pushed.

        Args:
            sources: int64 (S,).

        Returns:
            float32 CSR (S, N) twice, of which no row has more than 1 / (restart · tolerance) entries.
        """
        ones = np.ones(len(sources), np.float32)
        waiting = sp.csr_array((ones, sources, np.arange(len(sources) + 1)), (len(sources), self.links.shape[0]))
        visits = waiting * np.float32(0)
        while True:
            pushed = waiting.copy()
            pushed.data[pushed.data <= self._enough[pushed.indices]] = 0
            pushed.eliminate_zeros()
            if pushed.nnz == 0:
                return visits + self.restart * waiting, self._passed_on(self.restart * waiting)
            visits = visits + self.restart * pushed
            waiting = (waiting - pushed) + self._passed_on(pushed) @ self.links
            waiting.eliminate_zeros()

    def rows(self, sources: Nodes) -> sp.csr_array:
        """Visits of each document: int64 (S,) to float32 CSR (S, N)."""
        visits, ahead = self.pushed(sources)
        return sp.csr_array(visits + ahead @ self.links)

    def _passed_on(self, amounts: sp.csr_array) -> sp.csr_array:
        """What each neighbour of a document gets of what is pushed there."""
        shares = (1 - self.restart) * amounts.data / self.degrees[amounts.indices]
        return sp.csr_array((shares, amounts.indices, amounts.indptr), amounts.shape)


def personalised_pagerank(graph: Graph, restart: float = RESTART, tolerance: float = TOLERANCE) -> LinkScores:
    """How often a walk that starts at the source visits a document: see ``LocalPush``."""
    walks = LocalPush(graph, restart, tolerance)

    def pairs(sources: Nodes, targets: Nodes) -> npt.NDArray[np.float32]:
        """Walks from the lower node number alone: visits times the start's degree are the same in both directions."""
        low, high = np.minimum(sources, targets), np.maximum(sources, targets)
        found = row_pairs(walks.rows, low, high, graph.num_nodes)
        return np.where(sources == low, found, found * walks.degrees[low] / walks.degrees[high])

    return LinkScores(walks.rows, pairs)


def untrained(graph: GraphArtifact) -> dict[str, Callable[[], LinkScores]]:
    """What makes the scores of each method that needs no training, by its name.

    Args:
        graph: the links that may be seen and the vectors are looked at; without vectors, texts are not compared.
    """
    texts: dict[str, Callable[[], LinkScores]] = {
        "cosine": lambda: similarity(graph.vectors),
        "random_projection": lambda: random_projection(graph.vectors),
    }
    structure = (common_neighbours, adamic_adar, resource_allocation, katz, personalised_pagerank)
    return {
        **(texts if graph.vectors.shape[1] else {}),
        **{method.__name__: partial(method, graph.seen_graph) for method in structure},
    }


def _inner(left: sp.csr_array, right: sp.csr_array) -> npt.NDArray[np.float32]:
    """Inner products of equal rows: two CSR (P, N) in, float32 (P,) out."""
    return np.asarray(left.multiply(right).sum(axis=1), np.float32).ravel()
