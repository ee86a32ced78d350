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


def best_of_dense(scores: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Columns of the largest ``count`` entries of each row, in no order; of equal ones, any.

    A long row is cut into groups, whose largest entries tell a bound that at least ``count`` entries reach; only what
    reaches it is looked at again. That takes a quarter of the time of a partition of the row.

    Args:
        scores: float32 (S, N), no NaN.
        count: at most N.

    Returns:
        int64 (S, count).
    """
    size = scores.shape[1] // (8 * max(count, 1))
    if size < 16:
        return np.argpartition(scores, scores.shape[1] - count, axis=1)[:, scores.shape[1] - count :]
    size = min(size, _STRETCH)
    stretches = scores.shape[1] // size
    best = np.empty((len(scores), count), np.int64)
    for place, row in enumerate(scores):
        largest = row[: stretches * size].reshape(size, stretches).max(axis=0)
        found = np.flatnonzero(row >= np.partition(largest, stretches - count)[stretches - count])
        best[place] = found[np.argpartition(row[found], len(found) - count)[len(found) - count :]]
    return best


_STRETCH = 256


def best_of_rows(
    matrix: sp.csr_array, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The largest entries of each row that are above 0, largest first; of equal ones, the one that is stored first.

    Row, value and place of an entry are packed into one 64-bit key: sorting keys is several times as fast as sorting
    places by three columns.

    Args:
        matrix: float32 CSR (S, N).
        count: most entries of a row.

    Returns:
        Row, column and 0-based place among its row's best of each entry, int64 (E,) each.
    """
    found = [_best_of_block(matrix, start, count) for start in range(0, matrix.shape[0], _ROWS_OF_KEYS)]
    if not found:
        return (np.empty(0, np.int64),) * 3
    rows, entries, places = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, matrix.indices[entries].astype(np.int64), places


_ROW_BITS, _PLACE_BITS = 13, 18  # beside the 32 bits of a positive float32, whose order is that of its bits
_ROWS_OF_KEYS = 2**_ROW_BITS


def _best_of_block(
    matrix: sp.csr_array, start: int, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows, places in the matrix's storage, and places among the best, of ``_ROWS_OF_KEYS`` rows."""
    begins = matrix.indptr[start : start + _ROWS_OF_KEYS + 1].astype(np.int64)
    lengths = np.diff(begins)
    values = matrix.data[begins[0] : begins[-1]].astype(np.float32, copy=False)
    row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(values)) - (begins[:-1] - begins[0])[row]
    kept = values > 0
    row, place, values = row[kept], place[kept], values[kept]
    if len(place) and int(place.max()) >= 2**_PLACE_BITS:
        order = np.lexsort((place, -values, row))
        row, place = row[order], place[order]
    else:
        falling = 0xFFFFFFFF - values.view(np.uint32).astype(np.int64)
        keys = np.sort((row << (32 + _PLACE_BITS)) | (falling << _PLACE_BITS) | place)
        row, place = keys >> (32 + _PLACE_BITS), keys & (2**_PLACE_BITS - 1)
    ends = np.cumsum(np.bincount(row, minlength=len(lengths)))
    rank = np.arange(len(row)) - np.concatenate([[0], ends])[row]
    best = rank < count
    return row[best] + start, begins[:-1][row[best]] + place[best], rank[best]


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


def distinct(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Each of some whole numbers once, ascending: int64 (k,) in and, fewer, out.

    By a sort: ``np.unique`` of NumPy 2 fills a table of hashes, and took 15 s for nine million numbers, a sort 0.2 s.
    """
    ascending = np.sort(codes)
    first = np.concatenate([[True], ascending[1:] != ascending[:-1]])[: len(ascending)]
    return np.asarray(ascending[first])


def contains(ascending: npt.NDArray[np.int64], codes: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Whether each of some whole numbers, in any order, is in an ascending array."""
    if len(ascending) == 0:
        return np.zeros(len(codes), np.bool_)
    place = np.minimum(np.searchsorted(ascending, codes), len(ascending) - 1)
    return np.asarray(ascending[place] == codes)
