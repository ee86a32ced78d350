"""Records of a file: JSON Lines, CSV and TSV (plain or gzip) line by line, Parquet batch by batch.

Memory does not depend on the length of the file: one line, or one batch of rows, at a time.
"""

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from data.errors import InputError
from data.sources.remote import RemoteFile, SourceFile

Format = Literal["jsonl", "csv", "tsv", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "tsv",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class RepeatedKey(ValueError):
    """A JSON object has two values for one key; the message names it."""


class Broken(NamedTuple):
    """A line that is no record: why, and its beginning."""

    reason: str
    content: str


Record = dict[str, Any]
Records = Iterator[tuple[int, Record | Broken]]


def format_of(file: SourceFile) -> Format:
    """The format that a file's name tells.

    Raises:
        InputError: if it tells none.
    """
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{file}: cannot tell the format from the name",
            f"Set `format`, or name the file {', '.join(sorted(SUFFIXES))}.",
        )
    return SUFFIXES[suffix]


def lines(file: SourceFile) -> Iterator[tuple[int, str | Broken]]:
    """The lines of a text file with their numbers from 1, without their ends; gzip is seen by its first bytes.

    Raises:
        InputError: if the file is a damaged gzip.
    """
    with file.open("rb") as plain:
        zipped = cast("BufferedReader", plain).peek(2)[:2] == b"\x1f\x8b"
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if zipped else plain
        number = offset = 0
        try:
            for raw in stream:
                number += 1
                yield number, _decode(raw, offset)
                offset += len(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{file}: damaged gzip after line {number}: {error}", "Fetch or pack the file again."
            ) from None


def _decode(raw: bytes, offset: int) -> str | Broken:
    if offset == 0:
        raw = raw.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that spreadsheets write
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return Broken(f"not UTF-8 at byte {offset + error.start}", raw.decode("utf-8", "replace")[:500])


def json_lines(file: SourceFile) -> Records:
    """One JSON object a line; empty lines are passed over."""
    for number, line in lines(file):
        if isinstance(line, Broken):
            yield number, line
        elif line.strip():
            yield number, _parse_json(line)


def _each_key_once(pairs: list[tuple[str, Any]]) -> Record:
    """An object of JSON; Python itself would keep the last of two values of one key."""
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKey(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return record


_DECODER = json.JSONDecoder(object_pairs_hook=_each_key_once)


def _parse_json(line: str) -> Record | Broken:
    try:
        value = _DECODER.decode(line)
    except RepeatedKey as error:
        return Broken(str(error), line[:500])
    except ValueError as error:
        return Broken(f"not JSON: {error}", line[:500])
    except RecursionError:
        return Broken("not JSON: nested too deeply", line[:500])
    return value if isinstance(value, dict) else Broken(f"not a JSON object: {type(value).__name__}", line[:500])


def delimited(file: SourceFile, format_: Literal["csv", "tsv"], columns: list[str] | None = None) -> Records:
    """Records of a CSV (quoted as RFC 4180 says) or TSV file (nothing is quoted).

    Args:
        file: the file.
        format_: comma or tab between fields.
        columns: names of the fields of a file without a header; the first line is the header where not given.
    """
    csv.field_size_limit(sys.maxsize)  # its default of 128 KiB is less than one long document
    good = _GoodLines(file)
    reader = csv.reader(good, delimiter="\t", quoting=csv.QUOTE_NONE) if format_ == "tsv" else csv.reader(good)
    while (fields := _next_fields(reader)) is not None:
        yield from good.take_broken()
        if isinstance(fields, Broken):
            yield good.position, fields
        elif columns is None:
            columns = fields
        elif len(fields) == len(columns):
            yield good.position, dict(zip(columns, fields, strict=True))
        elif fields:
            yield good.position, Broken(f"{len(fields)} fields, {len(columns)} expected", "\t".join(fields)[:500])
    yield from good.take_broken()


class _GoodLines:
    """Feeds the csv module the lines that can be decoded, and keeps the number of the last line and the broken ones."""

    def __init__(self, file: SourceFile) -> None:
        self.position = 0
        self._lines = lines(file)
        self._broken: list[tuple[int, Broken]] = []

    def __iter__(self) -> Iterator[str]:
        for number, line in self._lines:
            self.position = number
            if isinstance(line, Broken):
                self._broken.append((self.position, line))
            else:
                yield line + "\n"

    def take_broken(self) -> list[tuple[int, Broken]]:
        """The lines that could not be decoded since the last call."""
        taken, self._broken = self._broken, []
        return taken


def _next_fields(reader: Iterator[list[str]]) -> list[str] | Broken | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        return Broken(f"not CSV: {error}", "")


def header(file: SourceFile, format_: Format) -> list[str] | None:
    """Names of the columns where the format has a header; None for JSON Lines, whose every line brings its own.

    Raises:
        InputError: if a CSV or TSV file is empty, or a Parquet file is not one.
    """
    if format_ == "parquet":
        return cast("list[str]", open_parquet(file).schema_arrow.names)
    if format_ == "jsonl":
        return None
    for _, line in lines(file):
        if isinstance(line, Broken):
            raise InputError(f"{file}: the header is {line.reason}", "Save the file as UTF-8.")
        return next(csv.reader([line], delimiter="," if format_ == "csv" else "\t"), [])
    raise InputError(f"{file}: empty, not even a header", "Write the names of the columns on the first line.")


def row_groups(file: SourceFile) -> int:
    """How many pieces a Parquet file can be read in."""
    return max(1, cast("int", open_parquet(file).num_row_groups))


def parquet_rows(file: SourceFile, group: int, columns: list[str] | None = None) -> Records:
    """Rows of one row group of a Parquet file, at most 1,024 of them in memory."""
    with open_parquet(file) as opened:
        if not opened.num_row_groups:
            return
        number = sum(opened.metadata.row_group(before).num_rows for before in range(group))
        for batch in opened.iter_batches(batch_size=1024, row_groups=[group], columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield number, row


def open_parquet(file: SourceFile) -> Any:  # noqa: ANN401 - pyarrow is untyped
    """A file as pyarrow's ParquetFile.

    Raises:
        InputError: if it is not a Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file.open_random() if isinstance(file, RemoteFile) else file, pre_buffer=True)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file}: not a Parquet file: {error}", "Check the path, or set `format`.") from None


def records(file: SourceFile, format_: Format, columns: list[str] | None = None) -> Records:
    """The records of a file in any format but Parquet, which is read by row group."""
    if format_ == "jsonl":
        return json_lines(file)
    assert format_ != "parquet"
    return delimited(file, format_, columns)
