"""Metadata: each type has one form, types survive the column, nothing is overwritten or lost without a word."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.metadata import (
    DEPTH,
    BadMetadata,
    leaves,
    metadata_object,
    path_text,
    read_metadata,
    write_metadata,
)
from data.sources import SourceConfig, read_tasks
from data.sources.landing import land
from data.sources.rows import Document, ReadTask, Reject

UUID_TEXT = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("text", "text"),
        (7, 7),
        (2**63, 2**63),
        (0.5, 0.5),
        (True, True),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 10, tzinfo=UTC), "2024-01-02T10:00:00Z"),
        (datetime(2024, 1, 2, 10), "2024-01-02T10:00:00Z"),
        (datetime(2024, 1, 2, 10, 0, 0, 500, timezone(timedelta(hours=2))), "2024-01-02T08:00:00.000500Z"),
        (pd.Timestamp("2024-01-02T10:00:00.000000001Z"), "2024-01-02T10:00:00.000000001Z"),
        (np.datetime64("2024-01-02T10:00:00", "ns"), "2024-01-02T10:00:00Z"),
        (np.datetime64("2024-01-02"), "2024-01-02T00:00:00Z"),
        (time(10, 0), "10:00:00"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=500), "P1DT2H3M4.5S"),
        (timedelta(0), "PT0S"),
        (timedelta(seconds=-61), "-PT1M1S"),
        (pd.Timedelta(1, "ns"), "PT0.000000001S"),
        (np.timedelta64(90, "s"), "PT1M30S"),
        (pa.MonthDayNano((14, 3, 5_000_000_000)), "P14M3DT5S"),
        (Decimal("12.50"), "12.50"),
        (Decimal("1E+3"), "1000"),
        (UUID(UUID_TEXT), UUID_TEXT),
        (np.int32(5), 5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        ([1, None, float("nan"), "", "a"], [1, "a"]),
        ((1, 2), [1, 2]),
        ({"b": 1, 5: None, 6: 2}, {"b": 1, "6": 2}),
        ([("a", 1), ("b", [2])], {"a": 1, "b": [2]}),
        ([(1, "x"), (2, "y")], {"1": "x", "2": "y"}),
        ([(0.5, 1.5)], [[0.5, 1.5]]),
    ],
    ids=repr,
)
def test_each_type_has_one_form(value: object, form: object) -> None:
    (made,) = metadata_object([("key", value)]).values()
    assert (made, type(made)) == (form, type(form))
    assert read_metadata(write_metadata({"key": made})) == {"key": form}


@pytest.mark.parametrize("value", [None, float("nan"), Decimal("NaN"), pd.NaT, pd.NA, np.datetime64("NaT"), "", [], {}])
def test_what_is_missing_is_left_out(value: object) -> None:
    assert metadata_object([("key", value), ("list", [value]), ("inner", {"key": value})]) == {}
    assert write_metadata({}) is None
    assert read_metadata(None) == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("inf"), "'key' is infinite"),
        (Decimal("-Infinity"), "'key' is infinite"),
        (10**400, "'key' is infinite, or too large a number"),
        (b"x", "'key' is binary"),
        ({"in": [memoryview(b"x")]}, "'key.in' is binary"),
        ("\ud800", "'key' is not valid Unicode"),
        ({"\udfff": 1}, "is not valid Unicode"),
        ({1: "a", "1": "b"}, "the key 'key.1' occurs twice"),
        ([("a", 1), ("a", 2)], "the key 'key.a' occurs twice"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "'key' is a time that UTC cannot hold"),
        (object(), "'key' is object, which metadata cannot hold"),
        ({1, 2}, "'key' is set"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else type(value).__name__,
)
def test_what_metadata_cannot_hold_is_named_with_its_key(value: object, message: str) -> None:
    with pytest.raises(BadMetadata, match=message):
        metadata_object([("key", value)])


def test_depth_is_bounded() -> None:
    deep: Any = 1
    for _ in range(DEPTH):
        deep = {"k": deep}
    write_metadata(metadata_object([("key", deep)]))
    with pytest.raises(BadMetadata, match=f"nested deeper than {DEPTH}"):
        metadata_object([("key", [deep])])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes() | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_any_value_is_kept_in_canonical_json_or_refused(value: dict[str, object]) -> None:
    try:
        made = metadata_object(value.items())
    except BadMetadata:
        return
    cell = write_metadata(made)
    assert read_metadata(cell) == made
    assert cell == write_metadata(dict(reversed(made.items())))
    assert cell is None or cell.encode()
    assert metadata_object(made.items()) == made


def test_leaves_have_the_path_of_their_lists() -> None:
    metadata = {"a": {"b": [1, {"c": "x"}, [2]]}, "d.e": True}
    assert list(leaves(metadata)) == [(("a", "b"), 1), (("a", "b", "c"), "x"), (("a", "b"), 2), (("d.e",), True)]
    assert [path_text(path) for path in (("a", "b"), ("d.e",), ("not",), ("",), ("a b", "c"))] == [
        "a.b", '"d.e"', '"not"', '""', "a b.c"
    ]  # fmt: skip


def read(tmp_path: Path, name: str, **documents: object) -> list[Document | Reject]:
    config = SourceConfig.model_validate({"files": {"documents": {"path": str(tmp_path / name), **documents}}})
    return [row for task in read_tasks(config) for _, row in task.read()]  # type: ignore[misc]


def test_a_parquet_file_of_every_arrow_type(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moment = datetime(2024, 1, 2, 10, tzinfo=UTC)
    columns: dict[str, tuple[pa.Array, object]] = {
        "date": (pa.array([date(2024, 1, 2)]), "2024-01-02"),
        "date64": (pa.array([date(2024, 1, 2)], pa.date64()), "2024-01-02"),
        "naive": (pa.array([datetime(2024, 1, 2, 10)]), "2024-01-02T10:00:00Z"),
        "zoned": (pa.array([moment], pa.timestamp("ms", "Asia/Tokyo")), "2024-01-02T10:00:00Z"),
        "exact": (pa.array([1], pa.timestamp("ns", "UTC")), "1970-01-01T00:00:00.000000001Z"),
        "time": (pa.array([time(10, 30)]), "10:30:00"),
        "duration": (pa.array([timedelta(hours=30)]), "P1DT6H"),
        "decimal": (pa.array([Decimal("12.50")]), "12.50"),
        "uuid": (pa.array([UUID(UUID_TEXT).bytes], pa.uuid()), UUID_TEXT),
        "word": (pa.array(["x"]).dictionary_encode(), "x"),
        "map": (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())), {"k": 1}),
        "numbered": (pa.array([[(7, "a")]], pa.map_(pa.int32(), pa.string())), {"7": "a"}),
        "struct": (pa.array([{"x": 1, "y": [0.5]}]), {"x": 1, "y": [0.5]}),
        "large": (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        "half": (pa.array([1.5], pa.float16()), 1.5),
        "flag": (pa.array([False]), False),
        "none": (pa.nulls(1), None),
        "thumb": (pa.array([b"\xff"]), None),
        "picture": (pa.array([{"bytes": b"\xff", "path": "a.png"}]), {"path": "a.png"}),
    }
    table = pa.table({"id": ["1"], "text": ["harbour"], **{name: array for name, (array, _) in columns.items()}})
    pq.write_table(table, tmp_path / "d.parquet")
    with caplog.at_level(logging.INFO, "catena"):
        (document,) = read(tmp_path, "d.parquet")
    assert isinstance(document, Document)
    assert document.metadata == {name: form for name, (_, form) in columns.items() if form is not None}
    assert "d.parquet: binary columns are left out: picture.bytes, thumb" in caplog.text
    (named,) = read(tmp_path, "d.parquet", metadata=["picture", "date"])
    assert isinstance(named, Document)
    assert named.metadata == {"picture": {"path": "a.png"}, "date": "2024-01-02"}
    with pytest.raises(InputError, match="column 'thumb' is binary"):
        read(tmp_path, "d.parquet", metadata=["date", "thumb"])
    (timed,) = read(tmp_path, "d.parquet", time="date")
    assert isinstance(timed, Document)
    assert timed.time == datetime(2024, 1, 2, tzinfo=UTC)


def test_nested_keys_keep_their_path(tmp_path: Path) -> None:
    record = {"id": "1", "text": "x", "name": "N", "author": {"name": "A"}, "publisher": {"name": "P", "year": 1}}
    (tmp_path / "d.jsonl").write_text(json.dumps(record))
    (document,) = read(tmp_path, "d.jsonl")
    assert isinstance(document, Document)
    assert document.metadata == {"name": "N", "author": {"name": "A"}, "publisher": {"name": "P", "year": 1}}


def test_members_of_metadata_collide_with_columns_by_a_word(tmp_path: Path) -> None:
    record = {"id": "1", "text": "x", "year": 1, "metadata": {"year": 2, "url": "u"}}
    (tmp_path / "d.jsonl").write_text(json.dumps(record))
    (reject,) = read(tmp_path, "d.jsonl")
    assert isinstance(reject, Reject)
    assert reject.reason == "the key 'year' occurs twice"
    (document,) = read(tmp_path, "d.jsonl", metadata=["metadata"])
    assert isinstance(document, Document)
    assert document.metadata == {"year": 2, "url": "u"}


def _csv(path: Path, separator: str) -> None:
    path.write_text("id,text,name,kind,name\n1,x,a,b,c\n".replace(",", separator))


def _parquet(path: Path, _: str) -> None:
    columns = ["id", "text", "name", "kind", "name"]
    pq.write_table(pa.Table.from_arrays([pa.array([name]) for name in columns], columns), path)


@pytest.mark.parametrize(
    ("name", "write"), [("d.csv", _csv), ("d.tsv", _csv), ("d.parquet", _parquet)], ids=["csv", "tsv", "parquet"]
)
def test_two_columns_of_one_name_are_an_error_that_names_both(
    tmp_path: Path, name: str, write: Callable[[Path, str], None]
) -> None:
    write(tmp_path / name, "\t" if name.endswith("tsv") else ",")
    with pytest.raises(InputError, match="columns 3 and 5 are both called 'name'"):
        read(tmp_path, name)


def test_a_key_twice_in_one_json_object_is_rejected(tmp_path: Path) -> None:
    lines = ['{"id": "1", "text": "x", "n": 1, "n": 2}', '{"id": "2", "text": "y", "n": {"a": 1, "a": 2}}']
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    reasons = [row.reason for row in read(tmp_path, "d.jsonl") if isinstance(row, Reject)]
    assert reasons == ["the key 'n' occurs twice", "the key 'a' occurs twice"]


def test_a_partition_is_closed_by_the_length_of_metadata_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.sources.landing.CHARACTERS", 1000)
    rows = [Document(str(i), "T", "text", {"note": "x" * 400, "n": i}) for i in range(6)]
    counts = land(ReadTask("here", "row", lambda: iter(enumerate(rows, start=1))), 0, tmp_path, strict=False)
    parts = sorted((tmp_path / "documents").glob("part-*.parquet"))
    assert (counts["documents"], len(parts)) == (6, 2)
    cells = [cell for part in parts for cell in pq.read_table(part)["metadata"].to_pylist()]
    assert [read_metadata(cell)["n"] for cell in cells] == list(range(6))
