"""Ids numbered by their places among others; null is nobody, on either side."""

import pyarrow as pa
import pytest

from data.ids import are_among, codes, first_of_each, numbers_of


def column(*parts: list[str | None], large: bool = False) -> pa.ChunkedArray:
    kind = pa.large_string() if large else pa.string()
    return pa.chunked_array([pa.array(part, kind) for part in parts], kind)


@pytest.mark.parametrize("large", [False, True])
def test_a_value_is_numbered_by_its_place_in_all_chunks(large: bool) -> None:
    ids = column(["a", "b"], [], ["c"], large=large)
    assert numbers_of(column(["c", "x"], ["a", "a"]), ids).tolist() == [2, -1, 0, 0]
    assert are_among(column(["c", "x"]), ids).tolist() == [True, False]


def test_null_is_not_among_ids_though_one_of_them_is_null() -> None:
    values = column(["a", None])
    assert numbers_of(values, column(["b", None, "a"])).tolist() == [2, -1]
    assert are_among(values, column([None])).tolist() == [False, False]


def test_without_values_or_ids_there_is_nothing() -> None:
    assert numbers_of(column([]), column(["a"])).tolist() == []
    assert numbers_of(column(["a"]), column([])).tolist() == [-1]


def test_the_first_of_equal_ids_is_found() -> None:
    ids = column(["b", "a"], ["b", "c", "a"])
    assert first_of_each(codes(ids)).tolist() == [True, True, False, True, False]
    assert first_of_each(codes(column([]))).tolist() == []
