"""The table of multivectors: a passage's row holds the vectors of all its tokens."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.encoders.transformer.token_vectors import TokenVectors
from data.files import whole_or_absent
from data.vectors.quantise import Codes, Floats, Storage, decode
from data.vectors.read import codes
from data.vectors.table import storage_of, vector_column


@dataclass(frozen=True)
class MultiVectors:
    """Stored token vectors of some passages, as ``retrieval.maxsim.maxsim`` takes them.

    Args:
        ids: of N passages.
        tokens: codes, (T, width) of the storage's dtype; a view of the Arrow buffer.
        starts: where each passage begins, and T at the end: int64 of shape (N + 1,).
        storage: form of the codes.
    """

    ids: list[str]
    tokens: Codes
    starts: npt.NDArray[np.int64]
    storage: Storage

    def each(self) -> list[Floats]:
        """Token vectors of each passage, float32 of shape (tokens, dim)."""
        return np.split(decode(self.tokens, self.storage), self.starts[1:-1]) if self.ids else []


def multivector_table(
    ids: pa.ChunkedArray, document_ids: pa.ChunkedArray, made: TokenVectors, storage: Storage
) -> pa.Table:
    """Rows of the table: ``id``, ``document_id``, ``tokens`` as a list of vectors, and ``count``, how many they are.

    Args:
        ids: of the passages.
        document_ids: of the documents they are from.
        made: their token vectors.
        storage: form of the vectors; the field names it, and their dimension.

    Raises:
        InputError: if the storage cannot hold vectors of this dimension.
    """
    described, vectors = vector_column(made.vectors, storage)
    rows = pa.ListArray.from_arrays(pa.array(made.starts, pa.int32()), vectors)
    fields = [
        pa.field("id", pa.string()),
        pa.field("document_id", pa.string()),
        pa.field("tokens", rows.type, metadata=described.metadata),
        pa.field("count", pa.int32()),
    ]
    counts = pa.array(np.diff(made.starts), pa.int32())
    return pa.table([ids, document_ids, rows, counts], pa.schema(fields))


def write_multivectors(tables: Iterable[pa.Table], path: Path) -> None:
    """Write one partition, a table at a time, at least one; it is complete or absent.

    Raises:
        InputError: if the disk is full; nothing of the partition is left behind.
    """
    rest = iter(tables)
    first = next(rest)
    with (
        whole_or_absent(path) as unfinished,
        pq.ParquetWriter(unfinished, first.schema, compression="zstd") as file,
    ):
        for table in chain([first], rest):
            file.write_table(table)


def read_multivectors(path: Path, rows: int = 512) -> Iterator[MultiVectors]:
    """A partition as a stream of at most ``rows`` passages at a time, in order."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=rows, columns=["id", "tokens"]):
            column, field = batch["tokens"], batch.schema.field("tokens")
            vector = pa.field("vector", field.type.value_type, metadata=field.metadata)
            vectors = pa.record_batch([column.flatten()], schema=pa.schema([vector]))
            starts = column.offsets.to_numpy().astype(np.int64)
            yield MultiVectors(
                batch["id"].to_pylist(), codes(vectors), starts - starts[0], storage_of(vectors.schema)[0]
            )
