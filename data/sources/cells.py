"""Conversion of one cell of a record, the same in every format: to a text, a number, a moment, or missing.

CSV and TSV bring text, JSON brings numbers, Parquet and Python functions bring times, decimals and the NaN and NaT of
pandas. Each conversion takes any of them and raises only ``BadCell``.
"""

import math
import re
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from numbers import Real
from typing import Any
from uuid import UUID

import numpy as np

from data.surrogates import valid_unicode

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_MIN = float(np.finfo(np.float32).smallest_subnormal)
INT32_MAX = 2**31 - 1
MISSING_WORDS = frozenset({"", "nan", "nat", "none", "null", "<na>"})  # where a number or a moment is meant

_YEAR_OR_MONTH = re.compile(r"\d{4}(-\d{2})?")
_SECONDS = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class BadCell(ValueError):
    """A cell that its column cannot hold; the message follows the name of the column."""


def text(value: object) -> str:
    """A cell as text. Numbers and UUIDs are written out, as ids often are numbers.

    Raises:
        BadCell: if it is of another type, an infinity, or holds a lone surrogate.
    """
    if isinstance(value, str):
        if not valid_unicode(value):
            raise BadCell("is not valid Unicode")
        return str(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Real | Decimal) and not isinstance(value, bool):
        if isinstance(value, float | np.floating | Decimal) and not math.isfinite(value):
            raise BadCell(f"is not a finite number: {shortened(value)}")
        if isinstance(value, Decimal):
            return f"{value:f}"
        try:
            return str(value)
        except ValueError:
            raise BadCell(f"is a number of more than {sys.get_int_max_str_digits():,} digits") from None
    raise BadCell(f"is not a text: {type(value).__name__}")


def number(value: object) -> float | None:
    """A cell as a finite number; None for texts that mean a missing value, such as ``nan`` and ``null``.

    Raises:
        BadCell: if it is no number, infinite, or too large for a float.
    """
    if isinstance(value, str):
        if value.strip().casefold() in MISSING_WORDS:
            return None
        if "_" in value:  # float() reads 1_000 as Python does
            raise BadCell(f"is not a number: {shortened(value)}")
    elif not isinstance(value, Real | Decimal):
        raise BadCell(f"is not a number: {shortened(value)}")
    try:
        found = float(value)
    except OverflowError:
        raise BadCell(f"is not a finite number: {shortened(value)}") from None
    except (TypeError, ValueError, ArithmeticError):
        raise BadCell(f"is not a number: {shortened(value)}") from None
    if not math.isfinite(found):
        raise BadCell(f"is not a finite number: {shortened(value)}")
    return found


def float32(value: object) -> float | None:
    """A number that float32 can hold: not beyond its range, and not so small that it would become 0.

    Raises:
        BadCell: if it is not one.
    """
    found = number(value)
    if found is not None and (abs(found) > FLOAT32_MAX or 0 < abs(found) < FLOAT32_MIN):
        raise BadCell(f"is a number that float32 cannot hold: {shortened(value)}")
    return found


def whole(value: object) -> int | None:
    """A whole number of 32 bits; 2.0 is one.

    Raises:
        BadCell: if it is not one.
    """
    found = number(value)
    if found is None:
        return None
    if not found.is_integer():
        raise BadCell(f"is not a whole number: {shortened(value)}")
    if abs(found) > INT32_MAX:
        raise BadCell(f"is a whole number of more than 32 bits: {shortened(value)}")
    return int(found)


def moment(value: object) -> datetime | None:
    """A cell as a moment in UTC: ISO 8601, seconds since 1970 as a number or as text, a date, a datetime.

    A time without a zone is taken for UTC, a date, a month or a year for its beginning. Text of four or of eight
    digits is a year or a date where it can be one, as ISO 8601 has it; other digits are seconds.

    Raises:
        BadCell: if it is none of these, or outside the years 1 to 9999.
    """
    try:
        found = _moment(value)
        if found is None:
            return None
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return datetime.combine(found.date(), found.time(), UTC)  # a datetime of pandas has nanoseconds
    except (TypeError, ValueError, ArithmeticError, OSError):
        raise BadCell(f"is not a time: {shortened(value)}") from None


def _moment(value: object) -> datetime | None:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        return _written_moment(value.strip())
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise TypeError
    return datetime.fromtimestamp(float(value), UTC)


def _written_moment(written: str) -> datetime | None:
    if written.casefold() in MISSING_WORDS:
        return None
    if _YEAR_OR_MONTH.fullmatch(written):
        return datetime.fromisoformat(f"{written}-01-01"[:10])
    if _SECONDS.fullmatch(written):
        try:
            if len(written) == 8:
                return datetime.fromisoformat(written)
        except ValueError:
            pass
        return datetime.fromtimestamp(float(written), UTC)
    return datetime.fromisoformat(written)


def shortened(value: object) -> str:
    """A value as an error message quotes it: its first 50 characters."""
    try:
        return repr(str(value)[:50])
    except Exception as error:  # a user-defined object may raise anything; a long int raises ValueError
        return f"{type(value).__name__} ({type(error).__name__} when printed)"


def described(value: Any) -> str:  # noqa: ANN401 - whatever JSON has no form for
    """A value for which JSON has no form, as the rejects table shows it."""
    return shortened(value).strip("'")
