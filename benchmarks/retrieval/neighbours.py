"""The nearest others of every vector, as discovery finds them, beside brute force in NumPy."""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.retrieval.vectors import verses
from benchmarks.rows import Row, median_ratio
from data.vectors.quantise import Floats
from retrieval.flat import FlatIndex
from retrieval.neighbours import Nodes, build_index, nearest, open_index

K = 20
ROWS_AT_ONCE = 1024
EQUAL = 1e-5  # cosines that differ by less are equal: FAISS and NumPy add in another order


def measure() -> list[Row]:
    """All verses against all, as discovery does it, and along the directions by which it compares more documents."""
    vectors = verses()
    with tempfile.TemporaryDirectory() as folder:
        return rows_of(vectors, Path(folder))


def rows_of(vectors: Floats, folder: Path) -> list[Row]:
    """The rows of some vectors.

    Args:
        vectors: float32 (n, dim) of unit length.
        folder: for files of indexes.
    """
    bound = brute_force(vectors, K)[:, -1]
    found = {
        "exact": compared(vectors),
        "approximate": approximate(vectors, folder / "first"),
    }
    recall = {kind: share_found(vectors, bound, *pairs) for kind, pairs in found.items()}
    built = iter(range(10))
    ratio, own, theirs = median_ratio(lambda: compared(vectors), lambda: brute_force(vectors, K))
    rough_ratio, rough_own, rough_theirs = median_ratio(
        lambda: approximate(vectors, folder / str(next(built))), lambda: brute_force(vectors, K)
    )
    what = f"the {K} nearest others of each of {len(vectors):,} vectors"
    return [
        Row(
            id="retrieval.neighbours_exact",
            what=f"{what}, all compared: share that brute force in NumPy finds too",
            value=recall["exact"],
            unit="recall",
            at_least=0.9999,
            reach=1.0,
        ),
        Row(
            id="retrieval.neighbours_ratio",
            what=f"{what}, all compared: times the speed of brute force in NumPy",
            value=round(ratio, 2),
            unit="times",
            at_least=5.0,
            peer=f"ours {own:.1f} s, NumPy {theirs:.1f} s",
        ),
        Row(
            id="retrieval.neighbours_directions",
            what=f"{what}, along the directions that hold nine tenths of them, as more documents are: share of "
            "those that brute force finds",
            value=recall["approximate"],
            unit="recall",
            at_least=0.95,
        ),
        Row(
            id="retrieval.neighbours_directions_ratio",
            what=f"{what}, the same: times the speed of brute force in NumPy",
            value=round(rough_ratio, 2),
            unit="times",
            at_least=5.0,
            peer=f"ours {rough_own:.1f} s with learning the directions, NumPy {rough_theirs:.1f} s",
        ),
    ]


def compared(vectors: Floats) -> tuple[Nodes, Nodes]:
    """All compared: documents and their neighbours."""
    return nearest(FlatIndex(vectors), vectors, 0, len(vectors), K)


def approximate(vectors: Floats, path: Path) -> tuple[Nodes, Nodes]:
    """Learn the directions and ask for all vectors: documents and their neighbours."""
    build_index(vectors, 0, path)
    return nearest(open_index(vectors, path), vectors, 0, len(vectors), K)


def brute_force(vectors: Floats, k: int) -> Floats:
    """Cosines of the k nearest others of each vector by products with all, float32 (n, k), best first."""
    best = np.empty((len(vectors), k), np.float32)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        cosines = vectors[start : start + ROWS_AT_ONCE] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        places = np.argpartition(-cosines, k, axis=1)[:, :k]
        best[start : start + ROWS_AT_ONCE] = -np.sort(-np.take_along_axis(cosines, places, axis=1), axis=1)
    return best


def share_found(vectors: Floats, bound: npt.NDArray[np.float32], rows: Nodes, neighbours: Nodes) -> float:
    """Share of the nearest that are among the neighbours; one as near as the last counts too.

    Args:
        vectors: float32 (n, dim) of unit length.
        bound: cosine of each vector's k-th nearest, float32 (n,).
        rows: of pairs, int64 (P,).
        neighbours: of pairs, int64 (P,).
    """
    right = 0
    for start in range(0, len(rows), 2**18):
        some = slice(start, start + 2**18)
        cosines = np.einsum("pd,pd->p", vectors[rows[some]], vectors[neighbours[some]])
        right += int((cosines >= bound[rows[some]] - EQUAL).sum())
    return round(min(right / (K * len(vectors)), 1.0), 5)
