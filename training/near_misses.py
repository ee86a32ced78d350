"""Near misses: documents that a model takes for linked and that no training link joins.

Only training links are consulted. A search that left out the validation and test links as well would give them away:
they would be the only near documents that are never pushed apart
(docs/decisions/008-negatives-and-held-out-links.md).

Shapes: N documents, K near misses of each, W width of a vector.
"""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.graph.graph import Graph
from retrieval.neighbours import ROWS_AT_ONCE, build_index, open_index

Vectors = npt.NDArray[np.float32]

EXACT_BELOW = 100_000  # documents with links; above, they are first compared in part, or searched by HNSW


def near_misses(vectors_NW: Vectors, graph: Graph, count: int, exact_below: int = EXACT_BELOW) -> npt.NDArray[np.int32]:
    """The nearest documents of each that it is not linked with.

    Documents without a training link have none and are none: they would be pushed away by every batch and drawn near
    by no one.

    Args:
        vectors_NW: of unit length.
        graph: of the training links alone.
        count: K.
        exact_below: documents with links up to which all are compared.

    Returns:
        int32 (N, K), nearest first, filled up with -1.
    """
    near_NK = np.full((len(vectors_NW), count), -1, np.int32)
    linked = np.flatnonzero(graph.degrees)
    rows = np.repeat(np.arange(graph.num_nodes), graph.degrees)
    known = rows * graph.num_nodes + graph.indices  # ascending
    with tempfile.TemporaryDirectory() as folder:
        file, vectors = Path(folder) / "index.faiss", vectors_NW[linked]
        build_index(vectors, exact_below, file)
        index = open_index(vectors, file)
        for start in range(0, len(linked), ROWS_AT_ONCE):
            block = linked[start : start + ROWS_AT_ONCE]
            # Its links are likely among its nearest; a document of very many has fewer near misses.
            most = count + 1 + min(count, int(graph.degrees[block].max()))
            _, places = index.search(vectors[start : start + len(block)], min(most, len(linked)))
            found = np.where(places >= 0, linked[places], -1)
            codes = block[:, None] * graph.num_nodes + found
            at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
            allowed = (found >= 0) & (found != block[:, None]) & (known[at] != codes)
            first = np.argsort(~allowed, axis=1, kind="stable")[:, :count]
            chosen = np.take_along_axis(np.where(allowed, found, -1), first, axis=1)
            near_NK[block, : chosen.shape[1]] = chosen
    return near_NK
