"""Rows of a Parquet file, batch by batch; a value that Python cannot hold rejects its row only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from data.errors import InputError
from data.sources.lines import Broken, Records
from data.sources.remote import RemoteFile, SourceFile

BATCH_ROWS = 1024


def parquet_columns(file: SourceFile) -> list[str]:
    """Names of the columns.

    Raises:
        InputError: if the file is no Parquet file.
    """
    with opened(file) as parquet:
        return cast("list[str]", parquet.schema_arrow.names)


def row_groups(file: SourceFile) -> int:
    """How many pieces the file can be read in."""
    with opened(file) as parquet:
        return max(1, cast("int", parquet.num_row_groups))


def parquet_rows(file: SourceFile, group: int, columns: list[str] | None = None) -> Records:
    """Rows of one row group, at most 1,024 of them in memory.

    Raises:
        InputError: if the file is damaged.
    """
    import pyarrow as pa

    with opened(file) as parquet:
        if not parquet.num_row_groups:
            return
        number = sum(parquet.metadata.row_group(before).num_rows for before in range(group))
        batches = parquet.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], columns=columns)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise InputError(
                    f"{file}: damaged Parquet after row {number}: {error}", "Fetch or write the file again."
                ) from error
            if batch is None:
                return
            for row in _rows(batch):
                number += 1
                yield number, row


def _rows(batch: Any) -> Iterator[dict[str, Any] | Broken]:  # noqa: ANN401 - pyarrow is untyped
    names = batch.schema.names
    columns = [_values(name, batch.column(n)) for n, name in enumerate(names)]
    for cells in zip(*columns, strict=True):
        broken = next((cell for cell in cells if isinstance(cell, Broken)), None)
        yield broken or dict(zip(names, cells, strict=True))


def _values(name: str, column: Any) -> list[Any]:  # noqa: ANN401 - pyarrow is untyped
    """The values of a column as Python's; Broken for one that has no such form.

    A text that is no UTF-8, a time beyond the year 9999 and a time zone that does not exist are such values.
    """
    try:
        return cast("list[Any]", column.to_pylist())
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError):
        return [_value(name, value) for value in column]


def _value(name: str, value: Any) -> Any:  # noqa: ANN401 - pyarrow is untyped
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return Broken(f"{name!r} is not UTF-8 at byte {error.start}", error.object[:500].decode("utf-8", "replace"))
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
        return Broken(f"{name!r} cannot be read: {type(error).__name__}: {error}", str(value.type))


@contextmanager
def opened(file: SourceFile) -> Iterator[Any]:
    """A file as pyarrow's ParquetFile.

    Raises:
        InputError: if it is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file.open_random() if isinstance(file, RemoteFile) else file, pre_buffer=True)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{file}: not a Parquet file: {error}", "Check the path, or set `format`.") from None
    with parquet:
        yield parquet
