"""Reading vectors: whole, in batches or by ids, as NumPy, torch or Polars over the memory that Arrow read them into.

Parquet is compressed, so reading one decodes it once into Arrow's memory. From there nothing is copied where the
vectors stand in one piece: a record batch, a row group, what ``read_ids`` returns. A table of many pieces is copied
once by ``codes`` and ``as_torch``, which promise one array; ``as_polars`` keeps the pieces. ``read_codes`` reads many
partitions into one array without holding them twice. Arrow's memory is read-only, and so is what is made of it.

``matrix`` is the one way to float32, whatever the storage.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from data.partitions import count_rows, partitions, read_batches
from data.vectors.quantise import DTYPES, Codes, Floats, decode, width
from data.vectors.table import storage_of

if TYPE_CHECKING:
    import polars as pl
    import torch


# Split block Bloom filter of Parquet, https://github.com/apache/parquet-format/blob/master/BloomFilter.md
_SALT = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31], np.uint32
)


def matrix(rows: pa.Table | pa.RecordBatch) -> Floats:
    """Vectors of some rows as float32 (n, dim), whatever their storage; float32 in one piece is not copied."""
    return decode(codes(rows), storage_of(rows.schema)[0])


def codes(rows: pa.Table | pa.RecordBatch) -> Codes:
    """Vectors of some rows as they are stored, (n, width) of the storage's dtype; one piece is not copied."""
    storage, dim = storage_of(rows.schema)
    column = rows.column("vector")
    pieces = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    flat = [_values(piece).to_numpy().view(DTYPES[storage]) for piece in pieces]
    whole: Codes = flat[0] if len(flat) == 1 else np.concatenate([np.empty(0, DTYPES[storage]), *flat])
    return whole.reshape(-1, width(dim, storage))


def as_torch(rows: pa.Table | pa.RecordBatch) -> "torch.Tensor":
    """Vectors of some rows as a tensor, (n, width); float8 as ``torch.float8_e4m3fn``; one piece is not copied."""
    import torch

    storage, dim = storage_of(rows.schema)
    column = rows.column("vector")
    pieces = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    flat = torch.utils.dlpack.from_dlpack(_values(pieces[0])) if len(pieces) == 1 else torch.from_numpy(codes(rows))
    own = {"float8": torch.float8_e4m3fn, "int8": torch.int8}
    return flat.view(own.get(storage, flat.dtype)).reshape(-1, width(dim, storage))


def as_polars(rows: pa.Table | pa.RecordBatch) -> "pl.DataFrame":
    """Rows as a Polars frame, vectors as its ``Array``: of floats, of int8, or of bytes (float8 and bits).

    Vectors are not copied. Polars copies bytes of one width, so codes are shown to it as lists of small integers in
    the same memory.
    """
    import polars as pl

    storage, dim = storage_of(rows.schema)
    table = pa.table(rows) if isinstance(rows, pa.RecordBatch) else rows
    kind = pa.from_numpy_dtype(DTYPES[storage])
    shown = [_lists(_values(piece), kind, width(dim, storage)) for piece in table.column("vector").chunks]
    column = pa.chunked_array(shown, pa.list_(kind, width(dim, storage)))
    frame = pl.from_arrow(table.set_column(table.schema.get_field_index("vector"), "vector", column), rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _values(column: pa.Array) -> pa.Array:
    """The numbers of a piece of a column, in one row; codes as uint8."""
    if not pa.types.is_fixed_size_binary(column.type):
        return column.flatten()
    bytes_each = column.type.byte_width
    return pa.Array.from_buffers(
        pa.uint8(), len(column) * bytes_each, [None, column.buffers()[1]], offset=column.offset * bytes_each
    )


def _lists(values: pa.Array, kind: pa.DataType, size: int) -> pa.Array:
    if values.type != kind:
        values = pa.Array.from_buffers(kind, len(values), [None, values.buffers()[1]], offset=values.offset)
    return pa.FixedSizeListArray.from_arrays(values, size)


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


def read_ids(folder: Path, ids: Sequence[str], columns: Sequence[str] = ("id", "vector")) -> pa.Table:
    """Rows of some ids, in the order asked; ids that are not there are left out.

    A row group is passed over where the smallest and largest of its ids, or their Bloom filter, say that none is in it.
    Of the others the ids are read, and vectors only of those that hold one.

    Args:
        folder: the ``vectors`` folder of an artifact.
        ids: wanted, each once.
        columns: to be read; with ``id``.
    """
    paths = partitions(folder)
    found = [part for path in paths for part in _found(path, ids, list(columns))]
    table = pa.concat_tables(found) if found else pq.read_schema(paths[0]).empty_table().select(list(columns))
    place = pc.index_in(table["id"], pa.array(ids, pa.string()))
    return table.take(pc.sort_indices(place)).combine_chunks()


def _found(path: Path, ids: Sequence[str], columns: list[str]) -> Iterator[pa.Table]:
    wanted = pa.array(ids, pa.string())
    with pq.ParquetFile(path) as file:
        for number in candidates(path, file.metadata, ids):
            here = pc.is_in(file.read_row_group(number, ["id"])["id"], wanted)
            if pc.any(here).as_py():
                yield file.read_row_group(number, columns).filter(here)


def candidates(path: Path, metadata: pq.FileMetaData, ids: Sequence[str]) -> list[int]:
    """Row groups of a partition that may hold one of some ids, from its footer and Bloom filters alone."""
    if not ids:
        return []
    hashes = np.array([xxhash.xxh64_intdigest(id_.encode()) for id_ in ids], np.uint64)
    kept = []
    with path.open("rb") as file:
        for number in range(metadata.num_row_groups):
            column = metadata.row_group(number).column(metadata.schema.names.index("id"))
            known = column.statistics
            if known is not None and known.has_min_max and not (known.min <= max(ids) and min(ids) <= known.max):
                continue
            if column.bloom_filter_offset is not None and column.bloom_filter_length:
                file.seek(column.bloom_filter_offset)
                if not _may_hold(file.read(column.bloom_filter_length), hashes).any():
                    continue
            kept.append(number)
    return kept


def _may_hold(filter_: bytes, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Whether a Bloom filter, header and all, may hold each hash; the bits are its largest power of two of bytes."""
    size = 1 << (len(filter_).bit_length() - 1)
    blocks = np.frombuffer(filter_[-size:], "<u4").reshape(-1, 8)
    block = ((hashes >> np.uint64(32)) * np.uint64(len(blocks))) >> np.uint64(32)
    masks = np.uint32(1) << ((hashes.astype(np.uint32)[:, None] * _SALT) >> np.uint32(27))
    may: npt.NDArray[np.bool_] = ((blocks[block.astype(np.int64)] & masks) == masks).all(axis=1)
    return may
