"""Nearest vectors: all compared, or through FAISS by an inverted file or a graph of neighbours, by their number.

Shapes: n documents, S rows asked for.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.files import whole_or_absent
from data.matrices import unit_rows
from retrieval.exact import ExactIndex

Nodes = npt.NDArray[np.int64]

GRAPH_ABOVE = (
    500_000  # documents from which an inverted file's cost per search, which grows with their root, is too high
)
LISTS_SEARCHED = 32
ROWS_AT_ONCE = 4096  # bounds the score matrix of one search
NEAR = 1e-6  # a cosine of 0 or less is not near; 0 itself may come out a little above


def build_index(vectors: npt.NDArray[np.float32], exact_below: int, path: Path, seed: int = 0) -> None:
    """Write the index of vectors, where there are enough of them to need one.

    Up to ``exact_below`` none is written, and ``open_index`` compares all. Above, an inverted file with about 4 sqrt(n)
    lists, of which 32 are looked into; above ``GRAPH_ABOVE``, HNSW (Malkov and Yashunin, 2018) over 8-bit vectors.

    Args:
        vectors: float32 (n, dim) of any length; may be memory-mapped.
        exact_below: documents up to which search is exact.
        path: file to write; an existing one is kept.
        seed: of the sample that lists are learnt from.
    """
    n, dim = vectors.shape
    if n <= exact_below or dim == 0 or path.exists():
        return
    import faiss

    rng = np.random.default_rng(seed)
    if n > GRAPH_ABOVE:
        index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 48, 48
        sample = np.sort(rng.choice(n, min(n, 100_000), replace=False))
    else:
        lists = int(4 * np.sqrt(n))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 8
        index.nprobe = LISTS_SEARCHED
        sample = np.sort(rng.choice(n, min(n, 40 * lists), replace=False))
    index.train(_unit(vectors[sample]))
    for start in range(0, n, ROWS_AT_ONCE):
        index.add(_unit(vectors[start : start + ROWS_AT_ONCE]))
    with whole_or_absent(path) as unfinished:
        faiss.write_index(index, str(unfinished))


def open_index(vectors: npt.NDArray[np.float32], path: Path) -> Any:  # noqa: ANN401 - faiss is untyped
    """The index that was written, its lists memory-mapped; where none was, an exact one over the vectors."""
    if not path.exists():
        return ExactIndex(vectors)
    import faiss

    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)


def nearest(
    index: Any,  # noqa: ANN401 - faiss is untyped
    vectors: npt.NDArray[np.float32],
    start: int,
    end: int,
    k: int,
) -> tuple[Nodes, Nodes]:
    """The k nearest others of each document from ``start`` to ``end``: documents and neighbours, int64 (P,) each.

    Neighbours of cosine 0 or less are not near, and a zero vector has none.
    """
    rows, neighbours = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for first in range(start, end, ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE, end)
        cosines, found = index.search(_unit(vectors[first:last]), min(k + 1, index.ntotal))
        row, other = np.repeat(np.arange(first, last), found.shape[1]), found.ravel()
        near = (cosines.ravel() > NEAR) & (other != row) & (other >= 0)
        rows.append(row[near])
        neighbours.append(other[near])
    return np.concatenate(rows), np.concatenate(neighbours)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Contiguous rows of unit length, as FAISS reads them."""
    return unit_rows(np.ascontiguousarray(vectors, np.float32))
