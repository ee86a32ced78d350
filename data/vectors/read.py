"""Reading vectors: in batches or whole, over the memory that Arrow read them into.

Parquet is compressed, so reading one decodes it once into Arrow's memory. From there nothing is copied where the
vectors are in one piece: a record batch, a row group. A table of many pieces is copied once by ``codes``.
``read_codes`` reads many partitions into one array without holding them twice. Arrow's memory is read-only, and so are
arrays over it. ``matrix`` converts every storage to float32.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.partitions import count_rows, partitions, read_batches
from data.vectors.quantise import DTYPES, Codes, Floats, decode, width
from data.vectors.table import storage_of


def matrix(rows: pa.Table | pa.RecordBatch) -> Floats:
    """Vectors of some rows as float32 (n, dim), from every storage; float32 in one piece is not copied."""
    return decode(codes(rows), storage_of(rows.schema)[0])


def codes(rows: pa.Table | pa.RecordBatch) -> Codes:
    """Vectors of some rows as they are stored, (n, width) of the storage's dtype; one piece is not copied."""
    storage, dim = storage_of(rows.schema)
    column = rows.column("vector")
    pieces = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    flat = [_values(piece).to_numpy().view(DTYPES[storage]) for piece in pieces]
    whole: Codes = flat[0] if len(flat) == 1 else np.concatenate([np.empty(0, DTYPES[storage]), *flat])
    return whole.reshape(-1, width(dim, storage))


def _values(column: pa.Array) -> pa.Array:
    """The numbers of a piece of a column, in one row; codes as uint8."""
    if not pa.types.is_fixed_size_binary(column.type):
        return column.flatten()
    bytes_each = column.type.byte_width
    return pa.Array.from_buffers(
        pa.uint8(), len(column) * bytes_each, [None, column.buffers()[1]], offset=column.offset * bytes_each
    )


def read_codes(folder: Path) -> tuple[pa.ChunkedArray, Codes]:
    """Every id and vector of a table, vectors as one array of their storage's dtype.

    Memory at its peak is the array and a batch.

    Args:
        folder: the ``vectors`` folder of an artifact.

    Returns:
        ids, string (n,), and codes, (n, width).
    """
    storage, dim = storage_of(pq.read_schema(partitions(folder)[0]))
    everything = np.empty((count_rows(folder), width(dim, storage)), DTYPES[storage])
    ids: list[pa.Array] = []
    start = 0
    for batch in read_batches(folder, ["id", "vector"]):
        everything[start : start + len(batch)] = codes(batch)
        ids.append(batch.column("id"))
        start += len(batch)
    return pa.chunked_array(ids, pa.string()), everything
