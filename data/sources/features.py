"""Features of a graph's nodes as vectors of unit length, in the place of vectors of texts."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.files import whole_or_absent
from data.matrices import principal_directions, unit_rows
from data.schema import FEATURES_FILE
from data.sources.arrays import Matrix
from data.sources.graph import GraphSource

WIDEST = 2048  # features that are kept as they are; more are reduced
REDUCED = 512
ROWS_AT_ONCE = 16_384


def write_features(source: GraphSource, nodes: int, out: Path) -> int:
    """Write the features of all nodes to ``features.npy``: float32 (n, dim), rows of unit length or zero.

    Up to ``WIDEST`` features are kept, dense or not; of more, the ``REDUCED`` directions that hold most of them
    (truncated SVD, as latent semantic analysis does: Deerwester et al., 1990).

    Args:
        source: the graph.
        nodes: n, as many as were read.
        out: receives the file.

    Returns:
        dim; 0 where the source has no features, and no file is written.

    Raises:
        InputError: if there are more or fewer rows than nodes.
    """
    rows = source.feature_rows()
    if rows is None:
        return 0
    if rows.shape[0] != nodes:
        raise InputError(
            f"{source.features}: {rows.shape[0]:,} rows of features for {nodes:,} nodes",
            "Give a row for each node, in the order of source.graph.nodes, or of their numbers.",
        )
    directions = principal_directions(rows, REDUCED, seed=0) if rows.shape[1] > WIDEST else None
    dim = rows.shape[1] if directions is None else directions.shape[1]
    with whole_or_absent(out / FEATURES_FILE) as unfinished:
        written = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float32, shape=(nodes, dim))
        for start in range(0, nodes, ROWS_AT_ONCE):
            written[start : start + ROWS_AT_ONCE] = _vectors(rows[start : start + ROWS_AT_ONCE], directions)
        written.flush()
    return int(dim)


def _vectors(rows: Matrix, directions: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    """Unit rows of a block: the features, or their products with the directions."""
    if directions is not None:
        return unit_rows(np.asarray(rows.astype(np.float32) @ directions))
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return unit_rows(np.asarray(dense, np.float32))
