"""Features of pairs of documents, from their neighbourhoods, texts and states: for the pairs wanted, never for a row.

Shapes: N documents, P pairs, C shared neighbours of all pairs together, W width of a state.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.sparse as sp
import torch

from data.graph.graph import Graph
from training.links.paths import Floats, Integers, PathFinder, Paths

STRUCTURE = (
    "common_neighbours",
    "adamic_adar",
    "resource_allocation",
    "three_paths",
    "walks",
    "cosine",
    "source_degree",
    "target_degree",
)
TEXTS = ("shared_words", "similar_paths")
STATES = ("state_cosine", "state_paths")
FEATURES = STRUCTURE + TEXTS + STATES

VISIT = 1e-4  # of a walk: counts as one

_TURNED = {"source_degree": "target_degree", "target_degree": "source_degree"}
_PAIRS_AT_ONCE = 32_768
_ROWS_AT_ONCE = 512  # of vectors, gathered: what fits the processor's cache


def turned(features: Floats) -> Floats:
    """Features of the same pairs the other way round; (P, F) in and out.

    Only the degrees change places, and visits: those of walks there and back are as the degrees of where they end.
    """
    back = np.take(features, [FEATURES.index(_TURNED.get(name, name)) for name in FEATURES], axis=1)
    source, target, visits = (FEATURES.index(name) for name in ("source_degree", "target_degree", "walks"))
    share = np.expm1(features[:, source]) / np.maximum(np.expm1(features[:, target]), 1)
    back[:, visits] = np.log1p(np.expm1(features[:, visits]) * share)
    return back


class PairFeatures:
    """Features of pairs of documents, counted on one graph.

    Common neighbours; Adamic–Adar (Adamic and Adar, Social Networks 25, 2003); resource allocation (Zhou, Lü and Zhang,
    EPJ B 71, 2009); degree-normalised paths of length three (Kovács et al., Nature Communications 10, 2019); visits of
    walks from the source (personalised PageRank by local push, Andersen, Chung and Lang, FOCS 2006); cosine of the text
    vectors; both degrees; cosine of the words; shared neighbours, each by how near its text is to either end; cosine of
    the states; and shared neighbours, each by how near its state is to either end: what neural common neighbours pool
    (Wang, Yang and Zhang, ICLR 2024), without a layer of its own. Counts enter as log(1 + x).

    Args:
        graph: only links that may be seen.
        vectors: float32 (N, dim), unit length; dim may be 0.
        words: float32 (N, terms), unit TF-IDF rows; where None, no words are shared.
        states: float32 (N, W), unit length; where None, their features are 0.
    """

    def __init__(
        self, graph: Graph, vectors: np.ndarray, words: sp.csr_matrix | None = None, states: np.ndarray | None = None
    ) -> None:
        self.graph, self.vectors, self.words, self.states = graph, vectors, words, states
        self._paths = PathFinder(graph)
        degrees = graph.degrees.astype(np.float32)
        self._adamic_adar = np.where(degrees > 1, 1 / np.log(np.maximum(degrees, 2)), 0).astype(np.float32)
        self._resource = self._paths.root**2
        self._log_degrees = np.log1p(degrees)
        self._near_texts = _Nearness(graph, vectors) if vectors.shape[1] else None
        self._near_states = _Nearness(graph, states) if states is not None else None

    def pairs(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Features of pairs that are not linked in the graph: int64 (P,) twice in, float32 (P, F) out, by ``FEATURES``.

        Cost grows with P times the degrees of the pairs; memory is bounded by a block for each of PyTorch's threads.
        """
        order = np.argsort(sources, kind="stable")
        features = np.empty((len(sources), len(FEATURES)), np.float32)

        def fill(start: int) -> None:
            block = order[start : start + _PAIRS_AT_ONCE]
            features[block] = self._block(sources[block], targets[block])

        starts = range(0, len(order), _PAIRS_AT_ONCE)
        if len(starts) < 2 or torch.get_num_threads() == 1:
            for start in starts:
                fill(start)
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as threads:
                list(threads.map(fill, starts))
        return features

    def _block(self, s: Integers, t: Integers) -> Floats:
        paths = self._paths.between(s, t)
        middle = self.graph.indices[paths.first]

        def summed(worth: Floats | None) -> Floats:
            return np.log1p(np.bincount(paths.pair, worth, minlength=len(s)))

        made = {
            "common_neighbours": summed(None),
            "adamic_adar": summed(self._adamic_adar[middle]),
            "resource_allocation": summed(self._resource[middle]),
            "three_paths": np.log1p(paths.three),
            "walks": np.log1p(paths.visits / VISIT),
            "cosine": _inner(self.vectors, s, t),
            "source_degree": self._log_degrees[s],
            "target_degree": self._log_degrees[t],
            "shared_words": self._shared_words(s, t),
            "state_cosine": _inner(self.states, s, t),
        }
        for name, nearness in (("similar_paths", self._near_texts), ("state_paths", self._near_states)):
            near = nearness.of(paths) * self._paths.root[middle] if nearness else np.zeros(len(middle), np.float32)
            made[name] = summed(near)
        return np.column_stack([made[name] for name in FEATURES]).astype(np.float32)

    def _shared_words(self, s: Integers, t: Integers) -> Floats:
        if self.words is None:
            return np.zeros(len(s), np.float32)
        return np.asarray(self.words[s].multiply(self.words[t]).sum(axis=1), np.float32).ravel()


class _Nearness:
    """Root of the cosine of both ends of a graph's links, each computed when it is first asked for.

    Args:
        graph: E entries.
        vectors: float32 (N, W), unit length.
    """

    def __init__(self, graph: Graph, vectors: Floats) -> None:
        self.graph, self.vectors = graph, vectors
        self._of_link = np.full(len(graph.indices), np.nan, np.float32)

    def of(self, paths: Paths) -> Floats:
        """For each shared neighbour, the product of its nearness to the source and to the target: float32 (C,)."""
        for places in (paths.first, paths.second):
            unknown = places[np.isnan(self._of_link[places])]
            node = np.searchsorted(self.graph.indptr, unknown, side="right") - 1
            cosines = _inner(self.vectors, node, self.graph.indices[unknown])
            self._of_link[unknown] = np.sqrt(np.maximum(cosines, 0.01))
        return self._of_link[paths.first] * self._of_link[paths.second]


def _inner(vectors: Floats | None, s: Integers, t: Integers) -> Floats:
    """Inner products of pairs of rows: int64 (P,) twice in, float32 (P,) out."""
    products = np.zeros(len(s), np.float32)
    if vectors is not None:
        for start in range(0, len(s), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            np.einsum("pd,pd->p", vectors[s[part]], vectors[t[part]], out=products[part])
    return products
