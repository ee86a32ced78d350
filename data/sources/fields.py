"""Records to rows: which field of a record is the id, the text, the target, and why a bad value is rejected."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from data.errors import InputError
from data.metadata import BadMetadata, Metadata, metadata_object
from data.missing import is_missing
from data.schema import SPLITS
from data.sources import cells
from data.sources.cells import BadCell
from data.sources.lines import Broken, Record, Records
from data.sources.remote import SourceFile
from data.sources.rows import Reading, Reject, Row

Value = TypeVar("Value")


class BadField(ValueError):
    """A value of one record that cannot be used; the message is the reason for its rejection."""


class MissingField(BadField):
    """A record without a field that every record needs: where all are like it, the mapping is wrong."""


def cell_of(record: Record, field: str, convert: Callable[[object], Value | None]) -> Value | None:
    """One cell of a record, converted; None where it is absent or missing (null, NaN, NaT).

    Raises:
        BadField: if it cannot be converted; the message names the column and the value.
    """
    value = record.get(field)
    if is_missing(value):
        return None
    try:
        return convert(value)
    except BadCell as error:
        raise BadField(f"{field!r} {error}") from None


def _needed(record: Record, field: str, value: Value | None) -> Value:
    """A value that may not be missing.

    Raises:
        MissingField: if the record has no such field.
        BadField: if it is missing in this record.
    """
    if value is not None:
        return value
    if field not in record:
        raise MissingField(f"{field!r} is missing")
    raise BadField(f"{field!r} is null")


def text_of(record: Record, field: str, default: str | None = None) -> str:
    """A field as a text; numbers are written out.

    Raises:
        MissingField: if it is not there and there is no default.
        BadField: if it is no text.
    """
    found = cell_of(record, field, cells.text)
    return default if found is None and default is not None else _needed(record, field, found)


def id_of(record: Record, field: str) -> str:
    """A field as an identity: a text that is not empty.

    Raises:
        BadField: if it is not one.
    """
    value = text_of(record, field)
    if not value.strip():
        raise BadField(f"{field!r} is empty")
    return value


def weight_of(record: Record, field: str) -> float:
    """A field as a finite number that float32 can hold.

    Raises:
        BadField: if it is not one.
    """
    return _needed(record, field, cell_of(record, field, cells.float32))


def grade_of(record: Record, field: str) -> int:
    """A field as a whole number: the grade of a judgment.

    Raises:
        BadField: if it is not one.
    """
    return _needed(record, field, cell_of(record, field, cells.whole))


def time_of(record: Record, field: str | None) -> datetime | None:
    """A field as a moment in UTC: ISO 8601 (without a zone: UTC) or seconds since 1970.

    Raises:
        BadField: if it is neither.
    """
    return cell_of(record, field, cells.moment) if field else None


def split_of(record: Record, field: str | None) -> str | None:
    """A field as the split that a link belongs to: train, valid or test; None where it is empty.

    Raises:
        BadField: if it is another word.
    """
    found = cell_of(record, field, cells.text) if field else None
    if found == "":
        return None
    if found is not None and found not in SPLITS:
        raise BadField(f"{field!r} is not train, valid or test: {cells.shortened(found)}")
    return found


def metadata_of(record: Record, fields: list[str]) -> Metadata:
    """Fields as metadata, each with its type and under its own name; those that are missing are left out.

    The members of an object called ``metadata``, as BEIR's corpora have it, are read like the other fields.

    Raises:
        BadField: if a value cannot be kept, or a member of ``metadata`` has the name of another field.
    """
    pairs: list[tuple[str, Any]] = []
    for field in fields:
        value = record.get(field)
        pairs += value.items() if field == "metadata" and isinstance(value, Mapping) else [(field, value)]
    try:
        return metadata_object(pairs)
    except BadMetadata as error:
        raise BadField(str(error)) from None


def need_columns(file: SourceFile, found: list[str], needed: list[str]) -> None:
    """Check that a header has the needed columns.

    Raises:
        InputError: naming the missing columns and those that are there, or the positions of two of one name.
    """
    for position, column in enumerate(found):
        if column in found[:position]:
            both = f"columns {found.index(column) + 1} and {position + 1} are both called {column!r}"
            raise InputError(f"{file}: {both}", "Rename one of them, or take it out.")
    missing = [column for column in needed if column not in found]
    if missing:
        raise InputError(
            f"{file}: no column {', '.join(map(repr, missing))}; the columns are {', '.join(map(repr, found))}",
            "Map the columns in the `source` section of the run file.",
        )


def rows(table: str, found: Callable[[], Records], build: Callable[[Record], Row]) -> Reading:
    """A row of every record, or a reject with the reason.

    Args:
        table: the table that the rows are for.
        found: opens the records.
        build: makes a row of a record; raises BadField where it cannot.
    """
    for position, record in found():
        yield position, row_or_reject(table, record, build)


def row_or_reject(table: str, record: Record | Broken, build: Callable[[Record], Row]) -> Row | Reject:
    """A row of one record, or a reject with the reason."""
    if isinstance(record, Broken):
        return Reject(table, record.reason, record.content)
    try:
        return build(record)
    except BadField as error:
        return Reject(table, str(error), shown(record), isinstance(error, MissingField))


def shown(record: Record) -> str:
    """A record as the rejects table shows it: JSON, cut to 500 characters."""
    try:
        return json.dumps(record, ensure_ascii=True, default=cells.described)[:500]
    except (TypeError, ValueError, RecursionError):  # keys that are no text, circles, very long numbers
        return ascii([cells.shortened(key) for key in record])[:500]
