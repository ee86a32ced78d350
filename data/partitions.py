"""Tables on disk: partitions found, read as streams, and written."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.files import remove_unfinished, whole_or_absent


def partition_name(number: int) -> str:
    """File name of a partition: sorted by name is sorted by number."""
    return f"part-{number:05d}.parquet"


def partitions(folder: Path) -> list[Path]:
    """The Parquet partitions of a table, in order."""
    return sorted(folder.glob("part-*.parquet"))


def read_table(folder: Path, columns: list[str] | None = None, schema: pa.Schema | None = None) -> pa.Table:
    """Whole table in memory: for tables known to be small, or for a few narrow columns of a large one.

    Args:
        folder: of the table.
        columns: to read; all where None.
        schema: of the table, where it may have no partitions: an empty table is returned then.
    """
    paths = partitions(folder)
    if not paths and schema is not None:
        empty = schema.empty_table()
        return empty if columns is None else empty.select(columns)
    return pq.ParquetDataset(paths).read(columns=columns)


def digest_of(folders: Sequence[Path]) -> str:
    """16 hexadecimal digits that stand for the rows of tables, in their order, however they lie in partitions."""
    digest = hashlib.sha256()
    for folder in folders:
        sink = pa.BufferOutputStream()
        pq.write_table(read_table(folder, schema=pa.schema([])).combine_chunks(), sink, compression="none")
        digest.update(sink.getvalue())
    return digest.hexdigest()[:16]


def read_qrels(folder: Path) -> dict[str, dict[str, int]]:
    """The table of judgements: by query, the grade of each document that was judged for it; empty where it has none."""
    grades: dict[str, dict[str, int]] = {}
    for batch in read_batches(folder):
        for row in batch.to_pylist():
            grades.setdefault(row["query_id"], {})[row["document_id"]] = row["score"]
    return grades


def left_to_do(table: Path, folder: Path) -> list[Path]:
    """Partitions of a table without a partition of the same name in a folder: the work that is left for a job.

    The folder is made if it does not exist, and unfinished files of killed jobs in it are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    return [path for path in partitions(table) if not (folder / path.name).exists()]


def read_batches(folder: Path, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """The table as a stream of record batches of at most ``rows`` rows."""
    for path in partitions(folder):
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=rows, columns=columns)


def count_rows(folder: Path) -> int:
    """Rows of a table, from the Parquet footers alone."""
    return sum(pq.read_metadata(path).num_rows for path in partitions(folder))


def write_partition(table: pa.Table, path: Path, **layout: Any) -> None:  # noqa: ANN401 - options of pq.write_table
    """Write one Parquet partition; it is complete or absent.

    Raises:
        InputError: if the disk is full; nothing of the partition is left.
    """
    with whole_or_absent(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", **layout)
