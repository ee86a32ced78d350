"""Metadata of documents: any value to JSON with its type, and the column that holds it.

The column ``metadata`` is a string with one JSON object a row: keys sorted, UTF-8, no NaN or infinity. A value is a
string, a number, a boolean, a list or an object. What JSON has no type for has one written form:

==========================  ===========================================================================
Arrow or Python type        form
==========================  ===========================================================================
date                        ``"2024-01-02"``
timestamp, datetime         ``"2024-01-02T10:00:00.5Z"``, RFC 3339 in UTC; without a zone it is read as UTC
time                        ``"10:00:00"``
duration, interval          ``"P1DT2H3M4.5S"``, ISO 8601
decimal                     ``"12.50"``, its plain digits
UUID                        ``"12345678-1234-5678-1234-567812345678"``
dictionary                  the value it encodes
struct, map                 object; keys that are not strings are written as strings
list, array                 list
null, NaN, NaT, ``""``      left out, as are lists and objects with nothing in them
infinity, binary            an error
==========================  ===========================================================================
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from data.missing import is_missing
from data.surrogates import valid_unicode

Scalar = str | int | float | bool
Value = Scalar | list["Value"] | dict[str, "Value"]
Metadata = dict[str, Value]
Path = tuple[str, ...]  # the keys from the outermost object to a value

DEPTH = 32  # of objects and lists in each other


class BadMetadata(ValueError):
    """A value that metadata cannot hold; the message names the key and the reason."""


def metadata_value(value: object, path: Path, depth: int = 0) -> Value | None:  # noqa: C901 - one line for each type
    """A value as JSON with its type; None where it is missing.

    Args:
        value: from a reader or a function: JSON, pyarrow's Python values, numpy's scalars and arrays.
        path: the keys that lead to it, for the message.
        depth: how many objects and lists it is nested in.

    Raises:
        BadMetadata: if it cannot be written.
    """
    if is_missing(value):
        return None
    if isinstance(value, np.datetime64 | np.timedelta64):
        value = _of_numpy(value)
    elif isinstance(value, np.ndarray):
        value = list(value)
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        if not valid_unicode(value):
            raise BadMetadata(f"{path_text(path)!r} is not valid Unicode")
        return str(value) or None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(_finite(value, path))
    if isinstance(value, float):
        return float(_finite(value, path))
    if isinstance(value, Decimal):
        return format(_finite(value, path), "f")
    if isinstance(value, datetime):
        return _moment(value, path)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        whole = value // timedelta(microseconds=1) * 1000
        return _duration(whole + getattr(value, "nanoseconds", 0))  # which pandas' durations have
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, pa.MonthDayNano):
        return _interval(value.months, value.days, value.nanoseconds)
    if depth == DEPTH:
        raise BadMetadata(f"{path_text(path[:1])!r} is nested deeper than {DEPTH} levels")
    if isinstance(value, Mapping):
        return metadata_object(value.items(), path, depth + 1) or None
    if isinstance(value, list | tuple):
        if value and all(_is_pair(member) for member in value):
            return metadata_object(value, path, depth + 1) or None
        members = (metadata_value(member, path, depth + 1) for member in value)
        return [member for member in members if member is not None] or None
    kind = "binary" if isinstance(value, bytes | bytearray | memoryview) else type(value).__name__
    raise BadMetadata(f"{path_text(path)!r} is {kind}, which metadata cannot hold")


def metadata_object(pairs: Iterable[tuple[Any, Any]], path: Path = (), depth: int = 0) -> Metadata:
    """Keys and values as a JSON object, without those that are missing.

    Raises:
        BadMetadata: if a key occurs twice or is not valid Unicode, or a value cannot be written.
    """
    made: Metadata = {}
    seen: set[str] = set()
    for key, value in pairs:
        name = key if isinstance(key, str) else str(metadata_value(key, path, DEPTH))
        if not valid_unicode(name):
            raise BadMetadata(f"the key {name!r} is not valid Unicode")
        if name in seen:
            raise BadMetadata(f"the key {path_text((*path, name))!r} occurs twice")
        seen.add(name)
        written = metadata_value(value, (*path, name), depth)
        if written is not None:
            made[name] = written
    return made


def write_metadata(metadata: Mapping[str, Any]) -> str | None:
    """The cell of the column ``metadata``; None where it is empty.

    Args:
        metadata: as ``metadata_object`` makes it.
    """
    if not metadata:
        return None
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def read_metadata(cell: str | None) -> Metadata:
    """A cell of the column ``metadata`` as a mapping."""
    read: Metadata = json.loads(cell) if cell else {}
    return read


def leaves(metadata: Mapping[str, Value], path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Every scalar with the keys that lead to it; each member of a list has the list's keys."""
    for key, value in metadata.items():
        yield from _leaves(value, (*path, key))


def _leaves(value: Value, path: Path) -> Iterator[tuple[Path, Scalar]]:
    if isinstance(value, dict):
        yield from leaves(value, path)
    elif isinstance(value, list):
        for member in value:
            yield from _leaves(member, path)
    else:
        yield path, value


def path_text(path: Path) -> str:
    """A path as people write it: ``author.name``; a key with a dot, a quote or an operator in it is quoted."""
    return ".".join(_key_text(key) for key in path)


def _key_text(key: str) -> str:
    plain = key and key == key.strip() and not any(sign in key for sign in '!."=<>\\')
    return key if plain and key.isprintable() and key != "not" else json.dumps(key, ensure_ascii=False)


def _finite(value: Any, path: Path) -> Any:  # noqa: ANN401 - int, float or Decimal
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise BadMetadata(f"{path_text(path)!r} is infinite, or too large a number")
    return value


def _of_numpy(value: np.datetime64 | np.timedelta64) -> object:
    unit = "datetime64[us]" if isinstance(value, np.datetime64) else "timedelta64[us]"
    converted: object = value.astype(unit).item()
    return converted


def _moment(value: datetime, path: Path) -> str:
    try:
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise BadMetadata(f"{path_text(path)!r} is a time that UTC cannot hold: {value}") from None
    return moment.isoformat().removesuffix("+00:00") + "Z"


def _duration(nanoseconds: int) -> str:
    sign, rest = ("-" if nanoseconds < 0 else ""), abs(nanoseconds)
    days, rest = divmod(rest, 86_400_000_000_000)
    return sign + _interval(0, days, rest)


def _interval(months: int, days: int, nanoseconds: int) -> str:
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    fractional = f"{seconds}.{fraction:09}".rstrip("0").rstrip(".")
    sign = "-" if nanoseconds < 0 else ""
    day_part = "".join(f"{number}{unit}" for number, unit in ((months, "M"), (days, "D")) if number)
    time_parts = ((str(hours), "H"), (str(minutes), "M"), (fractional, "S"))
    time_part = "".join(f"{sign}{number}{unit}" for number, unit in time_parts if number != "0")
    if not day_part and not time_part:
        return "PT0S"
    return f"P{day_part}" + (f"T{time_part}" if time_part else "")


def _is_pair(member: object) -> bool:
    """Whether a list's member is an entry of an Arrow map: pyarrow has these as tuples, and JSON has no tuples."""
    return type(member) is tuple and len(member) == 2 and not isinstance(member[0], float | tuple | list | dict)
