"""Pairs of documents worth scoring, found through indexes and the graph: never all pairs.

Documents are looked at in shards, a range of numbers each. What a shard finds does not depend on the others, so shards
are found anywhere, in any order, from files that are memory-mapped.

Shapes: n documents, P candidate pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.graph.graph import Graph
from data.matrices import best_of_rows, contains
from discovery.config import DiscoverConfig
from evaluation.baselines import personalised_pagerank
from retrieval.neighbours import nearest, open_index

Nodes = npt.NDArray[np.int64]
Pairs = tuple[Nodes, Nodes]

SOURCES = {"text": 1, "model": 2, "two_hop": 4, "words": 8, "walks": 16}
"""How a pair was found, as bits: near in text, near in the model, neighbours of one neighbour, words, walks."""

_BITS = 5  # of SOURCES: they are sorted together with the pairs

PATHS_AT_ONCE = 4_000_000  # two-hop paths expanded at once: bounds the sparse product at about 100 MB
WALKS_AT_ONCE = 512  # sources of a PageRank
WALK_TOLERANCE = 3e-3  # the best twenty of a document are far above it
RARE = 256  # documents that a word is in, at most, if documents are to be found by it
WORDS_OF_DOCUMENT = 16  # the rarest of each document


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


@dataclass(frozen=True)
class Clues:
    """What candidates are found by.

    Attributes:
        graph: the links that may be seen.
        text: float32 (n, dim), unit length or zero; dim may be 0.
        model: float32 (n, d) of any length.
        words: float32 (n, terms), unit TF-IDF rows.
    """

    graph: Graph
    text: npt.NDArray[np.float32]
    model: npt.NDArray[np.float32]
    words: sp.csr_matrix | None = None


def pair_codes(a: Nodes, b: Nodes, num_nodes: int) -> Nodes:
    """One number per unordered pair, int64 (P,): equal exactly where the pairs are."""
    return np.minimum(a, b).astype(np.int64) * num_nodes + np.maximum(a, b)


class Finder:
    """Finds the candidates of one shard after another; opens what it needs when it is first needed.

    Args:
        clues: what pairs are found by.
        config: how many neighbours of each kind.
        folder: with the indexes.
    """

    def __init__(self, clues: Clues, config: DiscoverConfig, folder: Path) -> None:
        self.clues = clues
        self._ways: dict[str, Callable[[int, int], Pairs]] = {}
        vectors = {"text": (clues.text, config.text_neighbours), "model": (clues.model, config.model_neighbours)}
        for name, (matrix, k) in vectors.items():
            if k and len(matrix) > 1 and matrix.shape[1]:
                self._ways[name] = _by_vectors(matrix, open_index(matrix, folder / f"{name}.faiss"), k)
        if config.two_hop_neighbours and len(clues.graph.indices):
            self._ways["two_hop"] = TwoHop(clues.graph, config.two_hop_neighbours, config.hub_degree)
        if config.words_neighbours and clues.words is not None and clues.words.nnz:
            self._ways["words"] = _by_words(rare_words(clues.words), config.words_neighbours)
        if config.walks_neighbours and len(clues.graph.indices):
            self._ways["walks"] = _by_walks(clues.graph, config.walks_neighbours)

    def find(self, start: int, end: int) -> Candidates:
        """Pairs with an end in the shard, without self links and links of the graph.

        At most the sum of the numbers of neighbours for each document: grows with n, not with its square.

        Args:
            start: first document of the shard.
            end: one behind its last.
        """
        n = self.clues.graph.num_nodes
        codes, bits = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
        for name, way in self._ways.items():
            found = pair_codes(*way(start, end), n)
            codes.append(found)
            bits.append(np.full(len(found), SOURCES[name], np.uint8))
        merged, found_by = merge(np.concatenate(codes), np.concatenate(bits))
        new = ~linked(self.clues.graph, merged) & (merged // n != merged % n)
        return Candidates(merged[new] // n, merged[new] % n, found_by[new])


def merge(codes: Nodes, bits: npt.NDArray[np.uint8]) -> tuple[Nodes, npt.NDArray[np.uint8]]:
    """Each code once, ascending, with the bits of all its occurrences."""
    keys = np.sort((codes << _BITS) | bits)
    if len(keys) == 0:
        return codes, bits
    ascending = keys >> _BITS
    first = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    merged = np.bitwise_or.reduceat((keys & (2**_BITS - 1)).astype(np.uint8), first)
    return ascending[first], merged


def linked(graph: Graph, codes: Nodes) -> npt.NDArray[np.bool_]:
    """Whether each of ascending codes is a link of the graph: looks at the rows of the pairs' lower ends alone."""
    n = graph.num_nodes
    low = codes // n
    low = low[np.concatenate([[True], low[1:] != low[:-1]])[: len(low)]]
    lengths = graph.indptr[low + 1] - graph.indptr[low]
    offsets = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    known = np.repeat(low, lengths) * n + graph.indices[np.repeat(graph.indptr[low], lengths) + offsets]
    return contains(known, codes)


def _by_vectors(vectors: npt.NDArray[np.float32], index: Any, k: int) -> Callable[[int, int], Pairs]:  # noqa: ANN401
    return lambda start, end: nearest(index, vectors, start, end, k)


class TwoHop:
    """Neighbours of neighbours with the largest resource allocation.

    Documents are taken in blocks of bounded numbers of paths. Paths through hubs are left out: a hub of degree d joins
    d^2 pairs, each with a weight of only 1 / d.

    Args:
        graph: links that may be seen.
        per_node: neighbours kept of each document.
        hub_degree: largest degree of a document that paths go through.
    """

    def __init__(self, graph: Graph, per_node: int, hub_degree: int) -> None:
        passable = graph.degrees <= hub_degree
        worth = np.where(passable, 1.0 / np.maximum(graph.degrees, 1), 0.0).astype(np.float32)
        self._per_node = per_node
        self._links = sp.csr_array(graph.adjacency)
        self._weighted = sp.csr_array(sp.diags_array(worth) @ self._links)
        self._weighted.eliminate_zeros()
        self._near = self._links + sp.eye_array(graph.num_nodes, dtype=np.float32, format="csr")
        self._paths = np.cumsum(self._links @ (graph.degrees * passable))

    def __call__(self, start: int, end: int) -> Pairs:
        """Documents from ``start`` to ``end``, and their neighbours of neighbours, int64 (P,) each."""
        rows, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        while start < end:
            done = self._paths[start - 1] if start else 0
            last = max(start + 1, int(np.searchsorted(self._paths, done + PATHS_AT_ONCE, side="right")))
            last = min(last, end)
            reached = sp.csr_array(self._links[start:last] @ self._weighted)
            row, other, _ = best_of_rows(_without(reached, self._near[start:last]), self._per_node)
            rows.append(row + start)
            others.append(other)
            start = last
        return np.concatenate(rows), np.concatenate(others)


def _without(matrix: sp.csr_array, others: sp.csr_array) -> sp.csr_array:
    """The matrix with 0 where the other one has an entry; both CSR (S, n)."""
    matrix.sum_duplicates()
    n = matrix.shape[1]
    codes, excluded = (
        np.repeat(np.arange(one.shape[0]), np.diff(one.indptr)) * n + one.indices for one in (matrix, others)
    )
    if len(codes):
        place = np.minimum(np.searchsorted(codes, excluded), len(codes) - 1)
        matrix.data[place[codes[place] == excluded]] = 0
    return matrix


def rare_words(words: sp.csr_matrix) -> sp.csr_array:
    """The ``WORDS_OF_DOCUMENT`` heaviest words of each document that at most ``RARE`` documents have; CSR (n, terms).

    So the cost of finding documents by words is bounded for each, whatever the size of the corpus.
    """
    matrix = sp.csr_array(words, copy=True)
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    matrix.data = np.where(frequency[matrix.indices] <= RARE, matrix.data, 0)
    row, column, _ = best_of_rows(matrix, WORDS_OF_DOCUMENT)
    values = np.asarray(matrix[row, column]).ravel() if len(row) else np.empty(0, np.float32)
    return sp.csr_array(sp.coo_array((values.astype(np.float32), (row, column)), matrix.shape))


def _by_words(rare: sp.csr_array, k: int) -> Callable[[int, int], Pairs]:
    postings = sp.csr_array(rare.T)

    def find(start: int, end: int) -> Pairs:
        row, other, _ = best_of_rows(sp.csr_array(rare[start:end] @ postings), k + 1)  # itself among them
        return row + start, other

    return find


def _by_walks(graph: Graph, k: int) -> Callable[[int, int], Pairs]:
    """Documents that walks from a document visit most, as far as they are not linked with it."""
    pagerank = personalised_pagerank(graph, tolerance=WALK_TOLERANCE).rows
    near = sp.csr_array(graph.adjacency) + sp.eye_array(graph.num_nodes, dtype=np.float32, format="csr")

    def find(start: int, end: int) -> Pairs:
        rows, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for first in range(start, end, WALKS_AT_ONCE):
            sources = np.arange(first, min(first + WALKS_AT_ONCE, end))
            visits = sp.csr_array(pagerank(sources))
            best, other, _ = best_of_rows(_without(visits, near[sources]), k)
            rows.append(best + first)
            others.append(other)
        return np.concatenate(rows), np.concatenate(others)

    return find
