"""Records of a file, in the format of its file name extension: JSON Lines, CSV, TSV, Parquet."""

import json
from pathlib import Path
from typing import Any, Literal

from data.errors import InputError
from data.sources.delimited import delimited, header
from data.sources.lines import Broken, Record, Records, lines
from data.sources.parquet import parquet_columns
from data.sources.remote import SourceFile

Format = Literal["jsonl", "csv", "tsv", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "tsv",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class RepeatedKey(ValueError):
    """A JSON object has two values for one key; the message names it."""


def format_of(file: SourceFile) -> Format:
    """The format of a file by its name.

    Raises:
        InputError: if the name has no known extension.
    """
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise InputError(
            f"{file}: cannot tell the format from the name",
            f"Set `format`, or name the file {', '.join(sorted(SUFFIXES))}.",
        )
    return SUFFIXES[suffix]


def json_lines(file: SourceFile) -> Records:
    """One JSON object a line; empty lines are skipped."""
    for line in lines(file):
        if line.problem:
            yield line.number, line.broken()
        elif line.text.strip():
            yield line.number, _parse_json(line.text)


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


def columns_of(file: SourceFile, format_: Format, quoted: bool | None = None) -> list[str] | None:
    """Names of the columns where the format has a header; None for JSON Lines, where each line has its own.

    Raises:
        InputError: if a CSV or TSV file has no readable header, or a Parquet file is not one.
    """
    if format_ == "jsonl":
        return None
    return parquet_columns(file) if format_ == "parquet" else header(file, format_, quoted)


def records(file: SourceFile, format_: Format, quoted: bool | None = None) -> Records:
    """The records of a file in any format but Parquet, which is read by row group."""
    if format_ == "jsonl":
        return json_lines(file)
    assert format_ != "parquet"
    return delimited(file, format_, quoted=quoted)
