"""What a cell is, whatever type it comes as."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from data.missing import is_missing
from data.sources.cells import BadCell, float32, moment, number, text, whole

DAY = datetime(2024, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        float("nan"),
        np.float32("nan"),
        Decimal("NaN"),
        Decimal("sNaN"),
        np.datetime64("NaT"),
        pd.NaT,
        pd.NA,
        np.ma.masked,
    ],
)
def test_nothing_is_missing_in_the_form_of_any_library(value: object) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", ["", "nan", 0, False, [], {}, [None], b"", np.zeros(3), float("inf"), DAY])
def test_what_holds_something_is_not_missing(value: object) -> None:
    assert not is_missing(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a", "a"), (7, "7"), (1.5, "1.5"), (np.int64(7), "7"), (Decimal("1E+2"), "100"), (np.str_("b"), "b"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)  # fmt: skip
def test_texts(value: object, written: str) -> None:
    assert text(value) == written and type(text(value)) is str


@pytest.mark.parametrize(
    "value",
    ["\ud800", True, b"a", ["a"], {}, float("inf"), Decimal("Infinity"), pytest.param(10**5000, id="long"), DAY, 1j],
)
def test_what_is_no_text(value: object) -> None:
    with pytest.raises(BadCell):
        text(value)


@pytest.mark.parametrize("word", ["", " ", "NaN", "nat", "None", "NULL", "<NA>"])
def test_words_for_nothing_where_a_number_or_a_moment_is_meant(word: str) -> None:
    assert number(word) is None and whole(word) is None and moment(word) is None
    assert text(word) == word  # a surname may be Null


@pytest.mark.parametrize(
    "value",
    [
        "1_000",
        "one",
        "inf",
        pytest.param(10**400, id="large"),
        "1e400",
        Decimal("1e400"),
        b"1",
        [1],
        np.ones(1),
        1j,
        DAY,
    ],
)
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(BadCell):
        number(value)


def test_bounds_of_float32_and_of_whole_numbers() -> None:
    largest = float(np.finfo(np.float32).max)
    assert float32(largest) == largest and float32(-largest) == -largest and float32(0) == 0
    for value in (largest * 1.01, "1e-46", -1e300):
        with pytest.raises(BadCell, match="float32"):
            float32(value)
    assert whole("2.0") == 2 and whole(Decimal(3)) == 3 and whole(2**31 - 1) == 2**31 - 1
    for value in (0.5, "1.5", 2**31):
        with pytest.raises(BadCell):
            whole(value)


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-02",
        "20240102",
        "2024-01-02T00:00:00Z",
        "2024-01-02T02:00+02:00",
        "1704153600",
        1704153600,
        1704153600.0,
        Decimal(1704153600),
        date(2024, 1, 2),
        datetime(2024, 1, 2),
        DAY.astimezone(timezone(timedelta(hours=9))),
        np.datetime64("2024-01-02"),
        np.int64(1704153600),
        pd.Timestamp("2024-01-02"),
        pd.Timestamp("2024-01-02", tz="UTC"),
    ],
)
def test_moments(value: object) -> None:
    assert moment(value) == DAY and type(moment(value)) is datetime


def test_digits_that_could_be_a_date_are_one_as_iso_8601_has_it() -> None:
    assert moment("2024") == datetime(2024, 1, 1, tzinfo=UTC)
    assert moment("2024-03") == datetime(2024, 3, 1, tzinfo=UTC)
    assert moment("86400000") == datetime(1972, 9, 27, tzinfo=UTC)  # no month 00
    assert moment("16121110123") == datetime.fromtimestamp(16121110123, UTC)  # not 1612-11-10, 23 h
    assert moment(0) == moment("0") == datetime(1970, 1, 1, tzinfo=UTC)
    assert moment("-1.5") == datetime(1969, 12, 31, 23, 59, 58, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2024-13-01",
        "9" * 30,
        1e300,
        float("inf"),
        pytest.param(10**400, id="large"),
        True,
        b"2024",
        timedelta(1),
        [DAY],
        "0001-01-01T00:00+05:00",
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=5))),
        np.datetime64("30000-01-01"),
    ],
)
def test_what_is_no_moment(value: object) -> None:
    with pytest.raises(BadCell, match="is not a time"):
        moment(value)
