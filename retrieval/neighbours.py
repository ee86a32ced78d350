"""Nearest vectors: all compared, or through FAISS by a graph of neighbours, by their number.

Shapes: n documents, S rows asked for.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.files import whole_or_absent
from data.matrices import unit_rows
from retrieval.flat import FlatIndex, principal_directions

Nodes = npt.NDArray[np.int64]

GRAPH_ABOVE = (
    500_000  # documents from which comparing all takes longer than a graph of neighbours: 8 minutes on two cores
)
SHARE = 0.9  # of the squared lengths: what is held by the directions that vectors are compared along
FEWEST = 128  # of these: along fewer, what is left out weighs too much for the order of near vectors
FEWER = 0.75  # of the dimensions: more directions are not worth it
SAMPLE = 8_192  # vectors that directions are learnt from
ROWS_AT_ONCE = 4096
NEAR = 1e-6  # a cosine of 0 or less is not near; 0 itself may come out a little above


def build_index(vectors: npt.NDArray[np.float32], exact_below: int, path: Path, seed: int = 0) -> None:
    """Write the index of vectors, where there are enough of them to need one.

    Up to ``exact_below`` none is written, and ``open_index`` compares all. Above, it compares all along the directions
    that hold most of the vectors, which are written beside ``path``; above ``GRAPH_ABOVE``, HNSW (Malkov and Yashunin,
    2018) over 8-bit vectors is.

    Args:
        vectors: float32 (n, dim) of any length; may be memory-mapped.
        exact_below: documents up to which search is exact.
        path: file to write; an existing one is kept.
        seed: of the sample that directions or codes are learnt from.
    """
    n, dim = vectors.shape
    beside = _directions(path)
    if n <= exact_below or dim == 0 or path.exists() or beside.exists():
        return
    rng = np.random.default_rng(seed)
    if n <= GRAPH_ABOVE:
        sample = np.sort(rng.choice(n, min(n, SAMPLE), replace=False))
        learnt = principal_directions(_unit(vectors[sample]), SHARE, FEWEST)
        if learnt.shape[1] <= FEWER * dim:
            with whole_or_absent(beside) as unfinished, unfinished.open("wb") as file:
                np.save(file, learnt)
        return
    import faiss

    index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 48, 48
    index.train(_unit(vectors[np.sort(rng.choice(n, min(n, 100_000), replace=False))]))
    for start in range(0, n, ROWS_AT_ONCE):
        index.add(_unit(vectors[start : start + ROWS_AT_ONCE]))
    with whole_or_absent(path) as unfinished:
        faiss.write_index(index, str(unfinished))


def open_index(vectors: npt.NDArray[np.float32], path: Path) -> Any:  # noqa: ANN401 - faiss is untyped
    """The index that was written, memory-mapped; where none was, one that compares all vectors."""
    if not path.exists():
        beside = _directions(path)
        return FlatIndex(vectors, np.load(beside) if beside.exists() else None)
    import faiss

    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)


def _directions(path: Path) -> Path:
    return path.with_suffix(".directions.npy")


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
