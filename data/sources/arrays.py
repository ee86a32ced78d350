"""Graphs and features in NumPy files: which array of an ``.npz`` is which, dense or as compressed rows."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.errors import InputError
from data.sources.remote import SourceFile

EDGES = ("edges", "edge_index")
ADJACENCY = ("adj", "adj_matrix", "adjacency", "")  # the last as scipy.sparse.save_npz writes a matrix
FEATURES = ("x", "features", "attr", "attr_matrix", "")
NODES = ("num_nodes",)

Matrix = npt.NDArray[Any] | sp.csr_array
Arrays = Mapping[str, npt.NDArray[Any]]


def read_arrays(file: SourceFile) -> Arrays:
    """The arrays of an ``.npz`` by name, or the one of an ``.npy`` under an empty name.

    Raises:
        InputError: if it is no such file, or holds Python objects, which are never unpickled.
    """
    try:
        with file.open("rb") as stream:
            found = np.load(io.BytesIO(stream.read()), allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"": found}
            return {name: found[name] for name in found.files if name != "format"}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{file}: no NumPy file of numbers: {error}", "Write it with numpy.savez or numpy.save."
        ) from None


def edges_of(arrays: Arrays, file: SourceFile) -> tuple[npt.NDArray[np.int64], int | None]:
    """Ends of the links, and the number of nodes where the file says it.

    Args:
        arrays: of the file; ``edges`` or ``edge_index`` in either orientation, or an adjacency matrix in compressed
            rows (``adj_data``, ``adj_indices``, ``adj_indptr``, ``adj_shape``, or as scipy.sparse.save_npz writes it).
        file: for messages.

    Returns:
        int64 (m, 2), and N or None.

    Raises:
        InputError: if there is no such array, or it does not hold pairs of whole numbers.
    """
    nodes = next((int(arrays[name]) for name in NODES if name in arrays), None)
    for name in EDGES:
        if name in arrays:
            return _pairs(arrays[name], name, file), nodes
    for prefix in ADJACENCY:
        matrix = _compressed(arrays, prefix, file)
        if matrix is not None:
            links = sp.coo_array(matrix)
            return np.column_stack([links.coords[0], links.coords[1]]).astype(np.int64), matrix.shape[0]
    raise InputError(
        f"{file}: no links: it holds {', '.join(sorted(arrays)) or 'nothing'}",
        "Name the array edges, (m, 2), or edge_index, (2, m), or give adj_data, adj_indices, adj_indptr and adj_shape.",
    )


def _pairs(edges: npt.NDArray[Any], name: str, file: SourceFile) -> npt.NDArray[np.int64]:
    if edges.ndim == 2 and edges.shape[1] != 2 and edges.shape[0] == 2:
        edges = edges.T
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise InputError(f"{file}: {name} has shape {edges.shape}", "It has a row for each link and two columns.")
    if not np.issubdtype(edges.dtype, np.integer):
        raise InputError(f"{file}: {name} holds {edges.dtype}", "Nodes are whole numbers from 0.")
    return edges.astype(np.int64)


def features_of(arrays: Arrays, file: SourceFile) -> Matrix:
    """A row of features for each node: ``x``, ``features`` or ``attr``, dense or in compressed rows (``x_data``, …).

    Raises:
        InputError: if there is no such array, it has no rows and columns of numbers, or one is not finite.
    """
    for name in FEATURES:
        matrix: Matrix | None = arrays[name] if name in arrays else _compressed(arrays, name, file)
        if matrix is not None:
            break
    else:
        raise InputError(
            f"{file}: no features: it holds {', '.join(sorted(arrays)) or 'nothing'}",
            "Name the array x, (n, d), or give x_data, x_indices, x_indptr and x_shape.",
        )
    stored = matrix if isinstance(matrix, np.ndarray) else matrix.data
    if matrix.ndim != 2 or stored.dtype.kind not in "buif":
        raise InputError(
            f"{file}: features have shape {matrix.shape} of {stored.dtype}", "Give numbers, a row for each node."
        )
    if not np.isfinite(stored).all():
        place = np.argmin(np.isfinite(stored).ravel())
        row = place // matrix.shape[1] if isinstance(matrix, np.ndarray) else _row_of(matrix, int(place))
        raise InputError(f"{file}: a feature of row {row} is not a finite number", "Replace it, by 0 for instance.")
    return matrix


def _row_of(matrix: sp.csr_array, place: int) -> int:
    return int(np.searchsorted(matrix.indptr, place, side="right")) - 1


def _compressed(arrays: Arrays, prefix: str, file: SourceFile) -> sp.csr_array | None:
    """A matrix in compressed rows under a prefix, its parts joined by ``_`` or ``.``; None where there is none.

    Raises:
        InputError: if its parts do not fit together.
    """
    for joint in ("_", ".") if prefix else ("",):
        parts = [arrays.get(f"{prefix}{joint}{part}") for part in ("data", "indices", "indptr", "shape")]
        data, indices, indptr, shape = parts
        if data is None or indices is None or indptr is None or shape is None:
            continue
        try:
            matrix = sp.csr_array((data, indices, indptr), shape=tuple(shape.tolist()))
            matrix.check_format(full_check=True)
        except (ValueError, IndexError) as error:
            raise InputError(
                f"{file}: {prefix or 'the matrix'} is not a matrix in compressed rows: {error}", "Write it again."
            ) from None
        return matrix
    return None
