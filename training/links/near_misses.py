"""Hard negatives: the documents nearest to each that it is not linked with, by the states so far.

Shapes: N documents, W width of a state, K near misses of each.
"""

import tempfile
from pathlib import Path

import numpy as np

from data.graph.graph import Graph
from data.matrices import best_of_dense, contains
from retrieval.neighbours import ROWS_AT_ONCE, build_index, open_index

EXACT_UP_TO = 50_000  # documents; above, all pairs take longer than an epoch, and FAISS finds most of the nearest
COSINES_AT_ONCE = 2**25  # 128 MiB


def near_misses(states: np.ndarray, graph: Graph, count: int = 50) -> np.ndarray:
    """The nearest documents of each that it is not linked with in the training graph: int32 (N, K).

    Above ``EXACT_UP_TO`` documents most of them, through an index; linked documents may stand last there, where too few
    others were found: whoever draws from the lists masks them.

    Args:
        states: float32 (N, W), unit length.
        graph: of the training links.
        count: K; fewer where there are fewer documents.
    """
    count = min(count, len(states))
    found = np.empty((len(states), count), np.int32)
    if len(states) > EXACT_UP_TO:
        _approximate(states, graph, found)
        return found
    block = max(1, COSINES_AT_ONCE // len(states))
    for start in range(0, len(states), block):
        cosines = states[start : start + block] @ states.T
        near = graph.adjacency[start : start + block]
        cosines[np.repeat(np.arange(len(cosines)), np.diff(near.indptr)), near.indices] = -2
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -2
        found[start : start + block] = best_of_dense(cosines, count)
    return found


def _approximate(states: np.ndarray, graph: Graph, found: np.ndarray) -> None:
    n, count = len(states), found.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states.faiss"
        build_index(states, EXACT_UP_TO, path)
        index = open_index(states, path)
        for start in range(0, n, ROWS_AT_ONCE):
            asked = np.ascontiguousarray(states[start : start + ROWS_AT_ONCE])
            _, near = index.search(asked, min(n, 2 * count + 1))  # documents, -1 where too few were found
            own = np.arange(start, start + len(asked))
            near = np.where(near < 0, own[:, None], near)
            entries = slice(graph.indptr[start], graph.indptr[start + len(asked)])
            linked = np.repeat(own, graph.degrees[own]) * n + graph.indices[entries]  # ascending
            known = contains(linked, (own[:, None] * n + near).ravel()).reshape(near.shape) | (near == own[:, None])
            free_first = np.argsort(known, axis=1, kind="stable")[:, :count]
            found[start : start + ROWS_AT_ONCE] = np.take_along_axis(near, free_first, axis=1)
