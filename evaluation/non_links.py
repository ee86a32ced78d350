"""Pairs that are not linked, to be told from links: drawn at random, and hard ones.

Shapes: N documents, U sources, P pairs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.graph.graph import Graph
from data.matrices import best_of_dense, best_of_rows, contains
from evaluation.blocks import Nodes, ragged
from evaluation.links import HardNegatives, Scorer, SparseScorer


def random_non_links(known: Graph, count: int, seed: int) -> tuple[Nodes, Nodes]:
    """Unordered pairs of different documents that are not linked, each at most once, drawn evenly from all of them.

    Args:
        known: graph of every known link.
        count: how many; fewer come back where the graph has fewer.
        seed: of the draw.

    Returns:
        The lower and the higher node numbers, int64 (P,) each.
    """
    n = known.num_nodes
    linked = np.repeat(np.arange(n), known.degrees) * n + known.indices  # ascending
    count = min(count, n * (n - 1) // 2 - len(linked) // 2)
    rng = np.random.default_rng(seed)
    found = np.empty(0, np.int64)
    while len(found) < count:
        a, b = rng.integers(0, n, (2, 2 * (count - len(found)) + 64))
        codes = np.minimum(a, b)[a != b] * n + np.maximum(a, b)[a != b]
        codes = codes[~contains(linked, codes)]
        drawn = np.concatenate([found, codes])
        found = drawn[np.sort(np.unique(drawn, return_index=True)[1])]  # in the order of the draw
    return found[:count] // n, found[:count] % n


def hard_negatives(
    methods: Sequence[Scorer | SparseScorer], nodes: Nodes, known: Graph, count: int, seed: int, batch_size: int = 256
) -> HardNegatives:
    """For each node the documents that simple methods would link with it first, although nobody has.

    HeaRT (Li et al., "Evaluating Graph Neural Networks for Link Prediction", NeurIPS 2023): a document's place is its
    best one in the lists of all methods. Where the methods name fewer than ``count``, random documents fill up.

    Args:
        methods: such as resource allocation, personalised PageRank and feature similarity; 0 or less means unrelated.
        nodes: int64 (U,) the sources.
        known: graph of every known link; linked documents are never negatives.
        count: K, negatives of a source.
        seed: of the random ones.
        batch_size: sources scored at once.

    Returns:
        At most K documents for each distinct node, the hardest first.
    """
    sources, n = np.unique(nodes), known.num_nodes
    rng = np.random.default_rng(seed)
    documents = np.full((len(sources), count), -1, np.int64)
    for start in range(0, len(sources), batch_size):
        batch = sources[start : start + batch_size]
        row, place = ragged(known.indptr, batch)
        excluded = np.concatenate([row * n + known.indices[place], np.arange(len(batch)) * n + batch])
        named = [_named(method(batch), excluded, n, count) for method in methods]
        rows = np.concatenate([*(rows for rows, _, _ in named), np.repeat(np.arange(len(batch)), 2 * count)])
        drawn = rng.integers(0, n, 2 * count * len(batch))
        columns = np.concatenate([*(columns for _, columns, _ in named), drawn])
        places = np.concatenate([*(places for _, _, places in named), np.arange(len(drawn)) % (2 * count) + count])
        by_place = np.argsort(places, kind="stable")
        codes, first = np.unique((rows * n + columns)[by_place], return_index=True)
        allowed = ~contains(np.sort(excluded), codes)
        codes, best = codes[allowed], places[by_place][first[allowed]]
        order = np.lexsort((first[allowed], best, codes // n))  # of equal places, the method named first
        at_row = codes[order] // n
        nth = np.arange(len(order)) - np.searchsorted(at_row, at_row)
        kept = nth < count
        documents[start + at_row[kept], nth[kept]] = codes[order][kept] % n
    return HardNegatives(sources, documents)


def _named(scores: npt.NDArray[np.float32] | sp.csr_array, excluded: Nodes, n: int, count: int) -> tuple[Nodes, ...]:
    """Rows, columns and 0-based places of each row's best that are above 0 and not excluded."""
    if sp.issparse(scores):
        block = sp.csr_array(scores)
        block.sum_duplicates()
        codes = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr)) * n + block.indices
        block.data = np.where(contains(np.sort(excluded), codes), 0, block.data)
        return best_of_rows(block, count)
    dense = np.array(scores)
    dense[excluded // n, excluded % n] = -np.inf
    width = min(count, n)
    columns = best_of_dense(dense, width)
    rows = np.repeat(np.arange(len(dense)), width)
    starts = np.arange(len(dense) + 1) * width
    best = sp.csr_array((dense[rows, columns.ravel()], columns.ravel(), starts), dense.shape)
    return best_of_rows(best, count)
