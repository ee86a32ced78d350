"""The table of multivectors: a passage's row holds the vectors of all its tokens."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.encoders.tokens import TokenVectors
from data.late.projection import Projection


@dataclass(frozen=True)
class MultiVectors:
    """Stored token vectors of some passages, as ``data.maxsim.maxsim`` takes them.

    Args:
        ids: of N passages.
        tokens: float16 or int8 of shape (T, dim); a view of the Arrow buffer.
        starts: where each passage begins, and T at the end: int64 of shape (N + 1,).
    """

    ids: list[str]
    tokens: npt.NDArray[np.float16] | npt.NDArray[np.int8]
    starts: npt.NDArray[np.int64]


def multivector_table(
    ids: pa.ChunkedArray, document_ids: pa.ChunkedArray, made: TokenVectors, projection: Projection
) -> pa.Table:
    """Rows of the table: ``id``, ``document_id``, and ``tokens`` as a list of fixed-size lists.

    Args:
        ids: of the passages.
        document_ids: of the documents they are from.
        made: their projected token vectors.
        projection: what packs them.
    """
    packed = projection.pack(made.vectors)
    kind = pa.float16() if projection.storage == "float16" else pa.int8()
    flat = pa.array(packed.reshape(-1), kind)
    tokens = pa.FixedSizeListArray.from_arrays(flat, projection.matrix_WD.shape[1])
    rows = pa.ListArray.from_arrays(pa.array(made.starts, pa.int32()), tokens)
    return pa.table({"id": ids, "document_id": document_ids, "tokens": rows})


def write_multivectors(tables: Iterable[pa.Table], path: Path) -> None:
    """Write one partition, a table at a time, at least one; it appears whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    rest = iter(tables)
    first = next(rest)
    with pq.ParquetWriter(unfinished, first.schema, compression="zstd") as file:
        for table in chain([first], rest):
            file.write_table(table)
    unfinished.replace(path)


def read_multivectors(path: Path, rows: int = 512) -> Iterator[MultiVectors]:
    """A partition as a stream of at most ``rows`` passages at a time, in order."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=rows, columns=["id", "tokens"]):
            column = batch["tokens"]
            starts = column.offsets.to_numpy().astype(np.int64)
            vectors = column.flatten()
            flat = vectors.flatten().to_numpy(zero_copy_only=True)
            tokens = flat.reshape(len(vectors), vectors.type.list_size)
            yield MultiVectors(batch["id"].to_pylist(), tokens, starts - starts[0])
