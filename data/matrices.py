"""Arithmetic on matrices that several parts of the project need."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Float = TypeVar("Float", bound=np.floating)


def unit_rows(matrix: npt.NDArray[Float], out: npt.NDArray[Float] | None = None) -> npt.NDArray[Float]:
    """Scale every row to Euclidean length 1; rows of zeros stay zero.

    Args:
        matrix: floats (n, dim).
        out: array for the result, such as ``matrix`` itself to save memory; a new one where None.

    Returns:
        Floats (n, dim) of the same type.
    """
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    scaled = np.zeros_like(matrix) if out is None else out
    np.divide(matrix, lengths, out=scaled, where=lengths > 0)
    return scaled


def orthonormal_columns(rows: int, columns: int, seed: int) -> npt.NDArray[np.float64]:
    """Draw a matrix with orthonormal columns, evenly from all such matrices (Haar measure).

    QR decomposition of normal numbers, with positive diagonal in R (Mezzadri, "How to Generate Random Matrices from
    the Classical Compact Groups", 2007): without that, the signs would depend on the linear algebra library.

    Args:
        rows: at least as many as columns.
        columns: how many.
        seed: of the draw.

    Returns:
        float64 (rows, columns).
    """
    directions, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((rows, columns)))
    return np.asarray(directions * np.sign(np.diag(upper)))


def best_of_rows(
    matrix: sp.csr_array, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The largest entries of each row that are above 0, largest first; of equal ones, the lower column first.

    Args:
        matrix: CSR (S, N).
        count: most entries of a row.

    Returns:
        Row, column and 0-based place in its row of each entry, int64 (E,) each.
    """
    kept = matrix.data > 0
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[kept]
    columns, values = matrix.indices[kept], matrix.data[kept]
    order = np.lexsort((columns, -values, rows))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=matrix.shape[0]))])
    places = np.arange(len(order)) - starts[rows]  # rows are ascending, before and after
    best = places < count
    return rows[best], columns[order[best]].astype(np.int64), places[best]


def principal_directions(
    matrix: npt.NDArray[Any] | sp.csr_array, count: int, seed: int, rounds: int = 4
) -> npt.NDArray[np.float32]:
    """Right singular vectors of the largest singular values, by randomised subspace iteration.

    Ten directions more than wanted are iterated (Halko, Martinsson and Tropp, SIAM Review 2011).

    Args:
        matrix: numbers (n, d), dense or CSR; it is not centred.
        count: how many directions; at most min(n, d) come back.
        seed: of the start.
        rounds: of the iteration.

    Returns:
        float32 (d, count), orthonormal columns, largest singular value first.
    """
    rows, width = matrix.shape
    kept = min(count, rows, width)
    basis = np.random.default_rng(seed).standard_normal((width, min(kept + 10, rows, width)))
    for _ in range(rounds):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))
    _, _, right = np.linalg.svd(np.asarray(matrix @ basis), full_matrices=False)
    return np.asarray((basis @ right.T)[:, :kept], np.float32)
