"""Batches of columns of a file: every value is read as it stands, text where the format has no types.

Numbers of CSV stay text here, so that one bad cell rejects its own line and not the file.
"""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from data.errors import InputError, nearest
from data.sources.paths import find

LINES_AT_ONCE = 1 << 18
BYTES_AT_ONCE = 1 << 24
BASKET, ITEM = "basket", "item"
ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".dat": "fimi"}


def local_files(path: str) -> list[Path]:
    """The files of a path of the run file.

    Raises:
        InputError: if there is none, or one is remote.
    """
    found = find(path)
    files = [file for file in found if isinstance(file, Path)]
    if len(files) < len(found):
        raise InputError(f"{path}: order lines are read from local files", "Copy the file to storage of the workers.")
    return files


def format_of(file: Path, given: str | None) -> str:
    """The format of a file, by its name where none is given.

    Raises:
        InputError: if the name does not tell.
    """
    name = file.name.removesuffix(".gz")
    known = given or ENDINGS.get(Path(name).suffix)
    if known is None:
        raise InputError(f"{file}: no format is known for this name", "Set format: jsonl, csv, tsv, parquet, lists.")
    return known


def pieces_of(file: Path, format_: str) -> list[tuple[int, ...]]:
    """Parts of a file that are read alone: some row groups of Parquet each; any other file is one piece, ``()``."""
    if format_ != "parquet":
        return [()]
    metadata = pq.ParquetFile(file).metadata
    pieces: list[tuple[int, ...]] = []
    lines, groups = 0, []
    for group in range(metadata.num_row_groups):
        groups.append(group)
        lines += metadata.row_group(group).num_rows
        if lines >= 4 * LINES_AT_ONCE:
            pieces.append(tuple(groups))
            lines, groups = 0, []
    return [*pieces, *([tuple(groups)] if groups else [])]


def count_lines(file: Path, format_: str) -> int:
    """About how many lines a file has: exact of Parquet, by its size of any other."""
    if format_ == "parquet":
        return int(pq.ParquetFile(file).metadata.num_rows)
    packed = 4 if file.suffix == ".gz" else 1
    return packed * file.stat().st_size // (4 if format_ in ("fimi", "lists") else 40)


def batches(file: Path, format_: str, columns: Sequence[str], piece: tuple[int, ...] = ()) -> Iterator[pl.DataFrame]:
    """Batches of at most about ``LINES_AT_ONCE`` lines.

    Args:
        file: to read.
        format_: of ``OrderFormat``; ``lists`` and ``fimi`` give the columns ``basket`` (line number) and ``item``.
        columns: to read.
        piece: of ``pieces_of``.

    Yields:
        Frames with those columns. A line of JSON that cannot be read is a row of nulls, so that it is rejected.

    Raises:
        InputError: if a column is missing or the file is not of its format.
    """
    try:
        if format_ == "parquet":
            yield from _of_parquet(file, columns, piece)
        elif format_ == "jsonl":
            yield from _of_jsonl(file, columns)
        elif format_ in ("lists", "fimi"):
            yield from _of_lists(file, "," if format_ == "lists" else None)
        else:
            yield from _of_delimited(file, columns, "\t" if format_ == "tsv" else ",")
    except (pa.ArrowInvalid, pl.exceptions.PolarsError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(
            f"{file}: not {format_}: {str(error).splitlines()[0]}", "Correct the file or format."
        ) from None


def need(file: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a file that lacks a column.

    Raises:
        InputError: naming it and the nearest that is there.
    """
    for column in wanted:
        if column not in found:
            raise InputError(f"{file}: no column {column!r}; {nearest(column, found)}", "Correct the column mapping.")


def _of_parquet(file: Path, columns: Sequence[str], piece: tuple[int, ...]) -> Iterator[pl.DataFrame]:
    read = pq.ParquetFile(file)
    need(file, read.schema_arrow.names, columns)
    for batch in read.iter_batches(LINES_AT_ONCE, list(piece) or None, list(columns), use_threads=False):
        yield _frame(batch)


def _of_delimited(file: Path, columns: Sequence[str], delimiter: str) -> Iterator[pl.DataFrame]:
    with _open(file) as stream:
        head = stream.readline().decode("utf-8-sig").rstrip("\r\n")
    if not head:
        return
    names = next(iter(pl.read_csv(f"{head}\n".encode(), separator=delimiter, has_header=False).rows()), ())
    found = [str(name) for name in names]
    need(file, found, columns)
    types = {column: pa.string() for column in columns}
    with _open(file) as stream:
        reader = pyarrow.csv.open_csv(
            stream,
            pyarrow.csv.ReadOptions(use_threads=False, block_size=BYTES_AT_ONCE),
            pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(include_columns=list(columns), column_types=types, strings_can_be_null=True),
        )
        for batch in reader:
            yield _frame(batch)


def _of_jsonl(file: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    with _open(file) as stream:
        rest, known = b"", False
        while block := stream.read(BYTES_AT_ONCE):
            whole, _, rest = (rest + block).rpartition(b"\n")
            if whole:
                frame = _of_json_lines(whole)
                if not known:
                    need(file, frame.columns, columns)
                    known = True
                yield _with(frame, columns)
        if rest.strip():
            frame = _of_json_lines(rest)
            if not known:
                need(file, frame.columns, columns)
            yield _with(frame, columns)


def _of_json_lines(lines: bytes) -> pl.DataFrame:
    try:
        return pl.read_ndjson(lines, infer_schema_length=None)
    except pl.exceptions.PolarsError:  # a line is not JSON, or the types of a column differ: slower, and right
        return pl.from_dicts([_record(line) for line in lines.splitlines()], infer_schema_length=None, strict=False)


def _record(line: bytes) -> dict[str, str | None]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return {k: None if v is None else str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _with(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Those columns; null where a block of JSON has none of that name."""
    return frame.select(
        pl.col(column) if column in frame.columns else pl.lit(None, pl.String).alias(column) for column in columns
    )


def _of_lists(file: Path, delimiter: str | None) -> Iterator[pl.DataFrame]:
    start = 0
    with _open(file) as stream:
        reader = pyarrow.csv.open_csv(
            stream,
            pyarrow.csv.ReadOptions(use_threads=False, block_size=BYTES_AT_ONCE // 4, column_names=["line"]),
            pyarrow.csv.ParseOptions(delimiter="\x01", quote_char=False, ignore_empty_lines=False),
            pyarrow.csv.ConvertOptions(column_types={"line": pa.string()}),
        )
        for batch in reader:
            lines = pc.utf8_trim_whitespace(batch["line"])
            split = pc.utf8_split_whitespace(lines) if delimiter is None else pc.split_pattern(lines, delimiter)
            numbers = pc.add(pc.cast(pc.list_parent_indices(split), pa.int64()), start)
            start += batch.num_rows
            yield _frame(pa.table({BASKET: numbers, ITEM: pc.utf8_trim_whitespace(pc.list_flatten(split))}))


def _open(file: Path) -> BinaryIO | Any:  # noqa: ANN401 - gzip's type is its own
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")


def _frame(batch: Any) -> pl.DataFrame:  # noqa: ANN401 - pyarrow is untyped
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame
