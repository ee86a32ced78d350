"""Records to rows: which field of a record is the id, the text, the target, and what is wrong with a bad value."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from data.errors import InputError
from data.metadata import BadMetadata, Metadata, metadata_object
from data.sources.records import Broken, Record, Records
from data.sources.remote import SourceFile
from data.sources.rows import Reading, Reject, Row
from data.surrogates import valid_unicode


class BadField(ValueError):
    """A value of one record that cannot be used; the message is the reason for its rejection."""


class MissingField(BadField):
    """A record without a field that every record needs."""


def text_of(record: Record, field: str, default: str | None = None) -> str:
    """A field as a string; numbers are written out, as ids often are numbers.

    Raises:
        MissingField: if it is not there and there is no default.
        BadField: if it is no text.
    """
    value = record.get(field)
    if value is None:
        if default is None:
            raise MissingField(f"{field!r} is missing" if field not in record else f"{field!r} is null")
        return default
    if isinstance(value, str):
        if not valid_unicode(value):
            raise BadField(f"{field!r} is not valid Unicode")
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise BadField(f"{field!r} is not a text: {type(value).__name__}")


def id_of(record: Record, field: str) -> str:
    """A field as an identity: a text that is not empty.

    Raises:
        BadField: if it is not one.
    """
    value = text_of(record, field)
    if not value.strip():
        raise BadField(f"{field!r} is empty")
    return value


def number_of(record: Record, field: str) -> float:
    """A field as a finite number.

    Raises:
        BadField: if it is not one.
    """
    value = record.get(field)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise BadField(f"{field!r} is not a number: {str(value)[:50]!r}") from None
    if not math.isfinite(number):
        raise BadField(f"{field!r} is not a finite number: {value!r}")
    return number


def time_of(record: Record, field: str | None) -> datetime | None:
    """A field as a moment in UTC: ISO 8601 (without a zone: UTC) or seconds since 1970.

    Raises:
        BadField: if it is neither.
    """
    value = record.get(field) if field else None
    if value is None or value == "":
        return None
    try:
        moment = value if isinstance(value, datetime) else None
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
        elif moment is None:
            moment = datetime.fromtimestamp(float(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        raise BadField(f"{field!r} is not a time: {str(value)[:50]!r}") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def metadata_of(record: Record, fields: list[str]) -> Metadata:
    """Fields as metadata, each with its type and under its own name; those that are missing are left out.

    The members of an object called ``metadata``, as BEIR's corpora have it, stand beside the other fields.

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
    """Check a header.

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


def rows(table: str, file: SourceFile, found: Callable[[], Records], build: Callable[[Record], Row]) -> Reading:
    """Build a row of every record; what cannot be built is rejected.

    Raises:
        InputError: if no record of the first 100, or of the file, has the fields that it needs: then the mapping
            is wrong, not the data.
    """
    built = 0
    misfits: list[Record] = []
    for position, record in found():
        if isinstance(record, Broken):
            yield position, Reject(table, record.reason, record.content)
            continue
        try:
            row = build(record)
        except BadField as error:
            if isinstance(error, MissingField) and not built:
                misfits.append(record)
                if len(misfits) == 100:
                    break
            yield position, Reject(table, str(error), shown(record))
            continue
        built += 1
        misfits.clear()
        yield position, row
    if misfits and not built:
        try:
            build(misfits[0])
        except MissingField as error:
            raise InputError(
                f"{file}: {error} in every record; the fields are {', '.join(map(repr, misfits[0]))}",
                "Map the fields in the `source` section of the run file.",
            ) from None


def shown(record: Record) -> str:
    """A record as it stands in the rejects table: JSON, cut to 500 characters."""
    return json.dumps(record, ensure_ascii=True, default=str)[:500]
